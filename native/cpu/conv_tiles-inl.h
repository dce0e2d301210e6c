// Register tiles of convolutions, compiled once for each instruction set.
#if defined(ANNEAL_CPU_CONV_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_CONV_TILES_INL_H_
#undef ANNEAL_CPU_CONV_TILES_INL_H_
#else
#define ANNEAL_CPU_CONV_TILES_INL_H_
#endif

#include "cpu/conv_packed.h"
#include "cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

/// A tile is kPixels pixels by kWide vectors of channels: as many sums as there are registers for.
inline constexpr int kPixels = 6;
inline constexpr int kWide = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64 ? 4 : 2;
inline constexpr int kChannels = kWide * kLanes<float>;

/// Where a tile's sums go, and what is done to them there: `first` of the parts of the depth adds bias and residual,
/// the `last` one applies the ReLU.
struct TileEnd {
  float* y;
  int64_t pitch;  // between pixels
  const float *bias, *residual;
  bool first, relu;

  void put(int64_t pixel, int64_t channel, float value) const {
    float& to = y[pixel * pitch + channel];
    if (!first) value += to;
    else value += (bias ? bias[channel] : 0) + (residual ? residual[pixel * pitch + channel] : 0);
    to = relu && value < 0 ? 0 : value;
  }
};

template <int R>
using Sums = hn::Vec<hn::ScalableTag<float>>[R][kWide];

/// What the sums start from. `channels` is kChannels, or less at the last panel.
template <int R>
HWY_INLINE void startSums(Sums<R>& sum, int64_t channels, const TileEnd& end) {
  const hn::ScalableTag<float> d;
  constexpr int L = kLanes<float>;
  const bool full = channels == kChannels;
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kWide; ++v)
      sum[i][v] = !full || (end.first && !end.bias)
                      ? hn::Zero(d)
                      : hn::LoadU(d, (end.first ? end.bias : end.y + i * end.pitch) + v * L);
}

template <int R>
HWY_INLINE void storeSums(Sums<R>& sum, int64_t channels, const TileEnd& end) {
  const hn::ScalableTag<float> d;
  constexpr int L = kLanes<float>;
  if (HWY_UNLIKELY(channels != kChannels)) {
    HWY_ALIGN float sums[R * kChannels];
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < kWide; ++v) hn::Store(sum[i][v], d, sums + i * kChannels + v * L);
    for (int i = 0; i < R; ++i)
      for (int64_t c = 0; c < channels; ++c) end.put(i, c, sums[i * kChannels + c]);
    return;
  }
  if (end.first && end.residual) {
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < kWide; ++v)
        sum[i][v] = hn::Add(sum[i][v], hn::LoadU(d, end.residual + i * end.pitch + v * L));
  }
  if (end.relu) {
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < kWide; ++v) sum[i][v] = hn::IfThenZeroElse(hn::Lt(sum[i][v], hn::Zero(d)), sum[i][v]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kWide; ++v) hn::StoreU(sum[i][v], d, end.y + i * end.pitch + v * L);
}

/// R pixels: the sums over `taps` and, of each, `depth` input channels from `from` on. Tap t of pixel i is read at
/// rows[t * kPixels + i]; the weights are [taps, depth, kChannels].
template <int R>
HWY_INLINE void convTile(const float* const* rows, int64_t taps, int64_t from, int64_t depth,
                         const float* HWY_RESTRICT weights, int64_t channels, const TileEnd& end) {
  const hn::ScalableTag<float> d;
  using Vec = hn::Vec<decltype(d)>;
  constexpr int L = kLanes<float>;
  Sums<R> sum;
  startSums<R>(sum, channels, end);
  for (int64_t t = 0; t < taps; ++t) {
    const float* a[R];
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) a[i] = rows[t * kPixels + i] + from;
    for (int64_t c = 0; c < depth; ++c, weights += kChannels) {
      Vec w[kWide];
#pragma GCC unroll 4
      for (int v = 0; v < kWide; ++v) w[v] = hn::LoadU(d, weights + v * L);
#pragma GCC unroll 8
      for (int i = 0; i < R; ++i) {
        const Vec x = hn::Set(d, a[i][c]);
#pragma GCC unroll 4
        for (int v = 0; v < kWide; ++v) sum[i][v] = hn::MulAdd(x, w[v], sum[i][v]);
      }
    }
  }
  storeSums<R>(sum, channels, end);
}

/// The same for 1 to kPixels pixels.
HWY_INLINE void convTileOf(int64_t pixels, const float* const* rows, int64_t taps, int64_t from, int64_t depth,
                           const float* weights, int64_t channels, const TileEnd& end) {
  switch (pixels) {
    case 1: return convTile<1>(rows, taps, from, depth, weights, channels, end);
    case 2: return convTile<2>(rows, taps, from, depth, weights, channels, end);
    case 3: return convTile<3>(rows, taps, from, depth, weights, channels, end);
    case 4: return convTile<4>(rows, taps, from, depth, weights, channels, end);
    case 5: return convTile<5>(rows, taps, from, depth, weights, channels, end);
    default: return convTile<kPixels>(rows, taps, from, depth, weights, channels, end);
  }
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
