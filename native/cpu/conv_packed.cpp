#include "cpu/conv_packed.h"

#include "cpu/workspace.h"

namespace anneal::cpu {
namespace {

void packFilter(const ConvShape& s, const Filter& weight, float* packed) {
  if (ConvWinograd::takes(s)) ConvWinograd::pack(s, weight, packed);
  else ConvTiles::pack(s, weight, packed);
}

Filter asItLies(const ConvShape& s, const float* weight) { return {weight, s.depth(), s.inChannels, 1}; }

const float* packNow(const ConvShape& s, const Filter& weight) {
  float* packed = workspace<float>(Purpose::ConvPacked, size_t(ConvPacked::packedSize(s)));
  packFilter(s, weight, packed);
  return packed;
}

/// The convolution that takes the gradient of the result to that of the data.
ConvShape reversed(const ConvShape& s) {
  ConvShape back = s;
  std::swap(back.in, back.out);
  std::swap(back.inChannels, back.outChannels);
  for (int i = 0; i < s.rank(); ++i) {
    const int64_t reach = s.dilation[i] * (s.kernel[i] - 1);
    back.before[i] = reach - s.before[i];
    back.after[i] = reach - s.after[i];
  }
  return back;
}

}  // namespace

int64_t ConvPacked::packedSize(const ConvShape& s) {
  return ConvWinograd::takes(s) ? ConvWinograd::packedSize(s) : ConvTiles::packedSize(s);
}

void ConvPacked::pack(const ConvShape& s, const float* weight, float* packed) {
  packFilter(s, asItLies(s, weight), packed);
}

void ConvPacked::run(const ConvShape& s, const float* x, const float* packed, const ConvEnd& end, float* y) {
  if (ConvWinograd::takes(s)) ConvWinograd::run(s, x, packed, end, y);
  else ConvTiles::run(s, x, packed, end, y);
}

void ConvPacked::forward(const ConvShape& s, const float* x, const float* weight, const float* bias, float* y) {
  run(s, x, packNow(s, asItLies(s, weight)), {.bias = bias}, y);
}

void ConvPacked::data(const ConvShape& s, const float* grad, const float* weight, float* dx) {
  const ConvShape back = reversed(s);
  const Filter weights{weight + (s.kernel.product() - 1) * s.inChannels, 1, -s.inChannels, s.depth()};
  run(back, grad, packNow(back, weights), {}, dx);
}

}  // namespace anneal::cpu
