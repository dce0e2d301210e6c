// The gradient of the weights of 3 x 3 convolutions: Winograd's method, transposed. For each point it is a product of
// the transformed squares of the gradient with those of the image, over all squares.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/conv_winograd_weights.cpp"
#include <hwy/foreach_target.h>
//
#include <atomic>
#include <vector>

#include "cpu/conv_packed.h"
#include "cpu/conv_winograd-inl.h"
#include "cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace winograd {

constexpr int kOut = Sides<4>::kOut, kIn = Sides<4>::kIn, kPoints = Sides<4>::kPoints;
constexpr int64_t kWide = 48;                // channels of the gradient side by side: whole tiles, whole vectors
constexpr int64_t kSums = 10 * 1024 * 1024;  // bytes of sums that are made at a time
static_assert(kWide % kRows == 0 && kWide % L == 0);

/// Transformed squares: [points, panels, squares, W channels]. Points lie an odd number of lines apart, so that what is
/// written of a square spreads over a cache.
template <int64_t W>
struct Panels {
  Panels(Purpose purpose, int64_t squares, int64_t channels)
      : squares(squares),
        point(oddLines(ceilDiv(channels, W) * squares * W)),
        data(workspace<float>(purpose, size_t(kPoints * point))) {}
  float* at(int64_t p, int64_t square, int64_t channel) const {
    return data + p * point + (channel / W * squares + square) * W + channel % W;
  }
  int64_t squares, point;
  float* data;
};

/// Sums of products: [points, channels out, channels in].
struct Sums {
  Sums(int64_t out, int64_t in)
      : in(in), point(oddLines(out * in)), data(workspace<float>(Purpose::Result, size_t(kPoints * point))) {}
  float* at(int64_t p, int64_t o, int64_t c) const { return data + p * point + o * in + c; }
  int64_t in, point;
  float* data;
};

class WeightGradient {
 public:
  WeightGradient(const ConvShape& s, const float* x, const float* grad, float* dw)
      : s_(s), squares_(s), x_(x), grad_(grad), dw_(dw), zeros_(size_t(std::max(s.inChannels, s.outChannels)), 0.0f) {}

  /// Whether all results are finite.
  bool run() {
    const int64_t each = kPoints * s_.inChannels * int64_t(sizeof(float));
    const int64_t most = std::max<int64_t>(kSums / each / kWide, 1) * kWide;
    for (int64_t o = 0; o < s_.outChannels; o += most) someChannels(o, std::min(most, s_.outChannels - o));
    return finite_;
  }

 private:
  /// Channels out from `first` on.
  void someChannels(int64_t first, int64_t count) {
    const int64_t bytes =
        kPoints * int64_t(sizeof(float)) * (ceilDiv(s_.inChannels, N) * N + ceilDiv(count, kWide) * kWide);
    const int64_t parts = ceilDiv(squares_.count, std::max<int64_t>(kTogether / bytes, 1));
    const int64_t step = ceilDiv(squares_.count, parts);
    const Sums sums(count, s_.inChannels);
    for (int64_t i = 0; i < squares_.count; i += step) {
      const int64_t squares = std::min(step, squares_.count - i);
      const Panels<N> image(Purpose::PackedA, squares, s_.inChannels);
      const Panels<kWide> result(Purpose::PackedB, squares, count);
      parallelFor(squares, 1, [&](int64_t begin, int64_t end) {
        for (int64_t q = begin; q < end; ++q) {
          readImage(i + q, q, image);
          readResult(i + q, q, first, count, result);
        }
      });
      multiply(count, image, result, i == 0 ? 0.0f : 1.0f, sums);
    }
    finish(first, count, sums);
  }

  void readImage(int64_t square, int64_t row, const Panels<N>& image) const {
    const float* at[kPoints];
    squares_.pixels(square, x_, zeros_.data(), at);
    for (int64_t c = 0; c < s_.inChannels; c += L)
      transformPixels<kIn, kIn>(transformIn, at, c, image.at(0, row, c), image.point);
  }

  void readResult(int64_t square, int64_t row, int64_t first, int64_t count, const Panels<kWide>& result) const {
    const float* at[kOut * kOut];
    squares_.results(square, grad_, zeros_.data(), at);
    for (int64_t c = 0; c < count; c += L)
      transformPixels<kOut, kIn>(transformResult, at, first + c, result.at(0, row, c), result.point);
  }

  /// For each point a product of [channels out, squares] and [squares, channels in].
  void multiply(int64_t count, const Panels<N>& image, const Panels<kWide>& result, float beta,
                const Sums& sums) const {
    const int64_t across = ceilDiv(count, kWide), squares = image.squares;
    parallelTasks(kPoints * across, [&](int64_t task) {
      const int64_t p = task / across, o = task % across * kWide, rows = std::min(kWide, count - o);
      for (int64_t q = 0; q < squares; q += kDepth)
        for (int64_t c = 0; c < s_.inChannels; c += N) {
          const Result<float> out{.c = sums.at(p, o, c), .ldc = s_.inChannels, .beta = q == 0 ? beta : 1.0f};
          const int64_t depth = std::min(kDepth, squares - q), columns = std::min<int64_t>(N, s_.inChannels - c);
          const float* a = result.at(p, q, o);
          const float* b = image.at(p, q, c);
          if (columns > L) rowsByPanel<float, 2>(rows, depth, a, 1, kWide, b, N, columns, out);
          else rowsByPanel<float, 1>(rows, depth, a, 1, kWide, b, N, columns, out);
        }
    });
  }

  void finish(int64_t first, int64_t count, const Sums& sums) {
    const Float d;
    parallelFor(count, 1, [&](int64_t begin, int64_t end) {
      Vec finite = hn::Zero(d);
      for (int64_t o = begin; o < end; ++o) {
        float* to = dw_ + (first + o) * kTaps * kTaps * s_.inChannels;
        for (int64_t c = 0; c < s_.inChannels; c += L)
          transformSquare(
              transformSums, [&](int i) { return hn::LoadU(d, sums.at(i, o, c)); },
              [&](int i, Vec value) {
                finite = hn::MulAdd(value, hn::Zero(d), finite);
                hn::StoreU(value, d, to + i * s_.inChannels + c);
              });
      }
      if (!hn::AllTrue(d, hn::Eq(finite, hn::Zero(d)))) finite_ = false;
    });
  }

  const ConvShape& s_;
  const Squares<kOut> squares_;
  const float *x_, *grad_;
  float* dw_;
  std::vector<float> zeros_;
  std::atomic<bool> finite_{true};
};

}  // namespace winograd

bool winogradWeights(const ConvShape& s, const float* x, const float* grad, float* dw) {
  return winograd::WeightGradient(s, x, grad, dw).run();
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(winogradWeights);

void ConvWinograd::weights(const ConvShape& s, const float* x, const float* grad, float* dw) {
  if (!HWY_DYNAMIC_DISPATCH(winogradWeights)(s, x, grad, dw)) ConvGemm<float>::weights(s, x, grad, dw);
}
}  // namespace anneal::cpu
#endif
