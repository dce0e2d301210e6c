#pragma once
#include "cpu/conv.h"

namespace anneal::cpu {

/// What a convolution does to its sums: adds the bias of the channel and a tensor of the result's shape, where they are
/// not null, and applies a ReLU. `residual` may be the result's memory.
struct ConvEnd {
  const float* bias = nullptr;
  const float* residual = nullptr;
  bool relu = false;
};

/// A weight as it lies in memory: channel o of the result, tap t, channel c of the input at
/// data[o * out + t * tap + c * in].
struct Filter {
  const float* data;
  int64_t out, tap, in;
};

// Own kernels for float32 in one group of channels, by weights packed for the shape. Shapes have three spatial axes;
// nothing is empty. `packedSize` counts elements.

/// Products whose left factor is read from the image in place: each of its rows is a list of pointers, one per tap
/// (Dukhan, "The Indirect Convolution Algorithm", 2019). Takes every shape.
struct ConvTiles {
  static int64_t packedSize(const ConvShape& s);
  static void pack(const ConvShape& s, const Filter& weight, float* packed);
  static void run(const ConvShape& s, const float* x, const float* packed, const ConvEnd& end, float* y);
};

/// 3 x 3 kernels that step by 1, several results at once: Winograd's F(4 x 4, 3 x 3) (Lavin and Gray, "Fast Algorithms
/// for Convolutional Neural Networks", 2015) with the points 0, 1/sqrt(2), -1/sqrt(2), sqrt(2), -sqrt(2) and infinity,
/// which lose the least; or F(2 x 2, 3 x 3), where there are few squares for so many weights. Where a result is not
/// finite, ConvTiles' way decides it.
struct ConvWinograd {
  /// The side, 4 or 2, of the squares of results that are best made at once; 1 where this is not the faster way.
  static int results(const ConvShape& s);
  static bool takes(const ConvShape& s) { return results(s) > 1; }
  static int64_t packedSize(const ConvShape& s);
  static void pack(const ConvShape& s, const Filter& weight, float* packed);
  static void run(const ConvShape& s, const float* x, const float* packed, const ConvEnd& end, float* y);
  /// The gradient of the weight [channels out, taps, channels in], by F(4 x 4, 3 x 3). Where it is not finite,
  /// ConvGemm's way decides it.
  static bool takesWeights(const ConvShape& s);
  static void weights(const ConvShape& s, const float* x, const float* grad, float* dw);
};

/// The better of the two for a shape.
struct ConvPacked {
  static int64_t packedSize(const ConvShape& s);
  static void pack(const ConvShape& s, const float* weight, float* packed);
  static void run(const ConvShape& s, const float* x, const float* packed, const ConvEnd& end, float* y);

  /// The same with a weight that was not packed before.
  static void forward(const ConvShape& s, const float* x, const float* weight, const float* bias, float* y);
  /// The gradient of the data of a convolution that steps by 1: a convolution of `grad` by the reversed kernel.
  static void data(const ConvShape& s, const float* grad, const float* weight, float* dx);
};

}  // namespace anneal::cpu
