#pragma once
#include <span>

#include "core/shape.h"
#include "cpu/conv.h"
#include "runtime/task.h"

// Products of activations, quantised when they come, with int8 weights. Activations take 7 bits, 0 to 127: two products
// with weights of 8 bits then fit into 16, where AVX2 adds them up; saturated sums cannot occur, and results are the
// same on processors that have wider instructions.
namespace anneal::cpu {

inline constexpr int kInt8Levels = 127;
/// Elements of one filter up to which a sum of products fits into 32 bits.
inline constexpr int64_t kInt8Depth = INT32_MAX / (kInt8Levels * 128);

/// Rows of a linear layer up to which inner products are faster than packing weights; they need no plan.
inline constexpr int64_t kInt8FewRows = 4;

enum class Activation { None, Relu, Gelu };

/// What follows a product in one pass: the addition of a tensor of the result's shape and dtype, then an activation.
struct Int8After {
  View residual{.defined = false};
  Activation activation = Activation::None;
};

/// What does not change from call to call: int8 weights with their scales, a bias, and a plan from int8Plan; the last
/// two may be undefined. Scales and bias have one element for each output, of any floating-point dtype.
struct Int8Weights {
  View weight, scale, bias, plan;
};

/// y [..., out] from x [..., in] and the weight [out, in]. Every row of x is quantised by itself.
void int8Linear(const View& x, const Int8Weights& by, const Int8After& after, const View& y);
/// y [batch, out, outChannels] from x [batch, in, inChannels]. Every image is quantised by itself.
void int8Conv(const ConvShape& s, const View& x, const Int8Weights& by, const Int8After& after, const View& y);

/// Whether a convolution goes through products and so takes a plan; others have groups of few channels.
bool int8ByProducts(const ConvShape& s);

/// The order in which a product goes through the weights, for filters of `taps` times `width` elements: int32
/// [panels, int8PlanSize]. It spares the products with many rows to find it at every call.
int64_t int8PlanSize(int64_t taps, int64_t width);
int64_t int8Panels(int64_t columns);
void int8Plan(const View& weight, int64_t taps, int64_t width, const View& plan);

/// How floats become levels: x = scale * (level - zero). NaN for a range that is not finite.
struct Quantizer {
  float scale = 0, inverse = 0;
  int32_t zero = 0;
};
/// The smallest and the largest of some values and zero.
struct Range {
  float low = 0, high = 0;
  bool finite = true;
  void include(const Range& r) {
    low = r.low < low ? r.low : low;
    high = r.high > high ? r.high : high;
    finite &= r.finite;
  }
  Quantizer quantizer() const;
};

namespace int8 {

/// One row of activations: element i stands for scale * (data[i] - zero).
struct Row {
  const uint8_t* data;
  float scale;
  int32_t zero;
};

/// y = x weightᵀ + bias in pieces of memory. A filter has a tap of `width` elements for each entry of `taps`, which say
/// where in a row its data begins; up to three bytes more are read there.
struct Product {
  int64_t rows = 0, columns = 0, width = 0;
  std::span<const int64_t> taps;
  const Row* x = nullptr;
  int64_t readable = 0;            // bytes of a row from its first tap on that may be read; zeros after a lone tap
  const int8_t* weight = nullptr;  // [columns, taps, width]
  const int32_t* plan = nullptr;   // or none
  const float* scale = nullptr;    // [columns]
  const float* bias = nullptr;     // [columns], or none
  float* y = nullptr;
  int64_t ldy = 0;
  const float* residual = nullptr;  // laid out as y, or none
  Activation activation = Activation::None;

  int64_t quads() const { return int64_t(taps.size()) * ((width + 3) / 4); }
};
void multiply(const Product& p);

Range rangeOf(const float* x, int64_t n);
void quantize(const float* x, int64_t n, const Quantizer& by, uint8_t* to);

}  // namespace int8
}  // namespace anneal::cpu
