#pragma once
#include "cpu/conv.h"
#include "op/define.h"

namespace anneal::ops {

/// Lists hold one number for every spatial axis, or one for all; `padding` may also hold pairs, before and after each
/// axis.
struct Conv {
  Ints stride{1}, padding{0}, dilation{1};
  int64_t groups = 1;
  bool same = false;
};
extern const Op<Conv> conv1d, conv2d, conv3d;

/// The sizes of the convolution of data of the shape `x` with a weight of the shape `weight`; errors name `op`.
cpu::ConvShape convShape(const std::string& op, const Conv& attrs, const Shape& x, const Shape& weight);

/// Reads padding given as one number, one per axis, or pairs; only pairs may hold a negative `after`, for gradients:
/// what the last step of the stride, which is known, does not reach.
void setConvPadding(const std::string& op, const Ints& given, int rank, cpu::ConvShape& s);

/// Throws unless these can be convolved over `rank` axes and the bias, if any, is for `channels`; errors name `op`.
void checkConvOperands(const std::string& op, int rank, const Tensor& x, const Tensor& weight, const Tensor& bias,
                       int64_t channels);

struct ConvTranspose {
  Ints stride{1}, padding{0}, outputPadding{0}, dilation{1};
  int64_t groups = 1;
};
extern const Op<ConvTranspose> convTranspose1d, convTranspose2d, convTranspose3d;

/// A convolution with its padding in pairs; `size` is that of the result's spatial axes.
struct ConvGradient {
  Ints size, stride, padding, dilation;
  int64_t groups = 1;
};
extern const Op<ConvGradient> convData, convWeights;

}  // namespace anneal::ops
