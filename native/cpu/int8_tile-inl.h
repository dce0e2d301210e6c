// Register tiles of products of levels (0 to 127) with int8 weights, compiled once for each instruction set.
#if defined(ANNEAL_CPU_INT8_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_INT8_TILE_INL_H_
#undef ANNEAL_CPU_INT8_TILE_INL_H_
#else
#define ANNEAL_CPU_INT8_TILE_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "cpu/int8.h"
#include "cpu/scalar.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr int kPanel = 32;  // columns that are packed together
inline constexpr int kQuadBytes = 4 * kPanel;

/// The activation of a piece of a row.
HWY_INLINE void activate(Activation activation, float* y, int64_t n) {
  if (activation == Activation::Relu)
    for (int64_t i = 0; i < n; ++i) y[i] = scalar::Relu{}(y[i]);
  if (activation == Activation::Gelu)
    for (int64_t i = 0; i < n; ++i) y[i] = scalar::Gelu{}(y[i]);
}

#if HWY_TARGET == HWY_SCALAR
/// Without vectors: one sum at a time.
inline void plainRow(const int8::Product& p, int64_t row) {
  const int8::Row& x = p.x[row];
  float* y = p.y + row * p.ldy;
  const int8_t* w = p.weight;
  for (int64_t c = 0; c < p.columns; ++c) {
    int32_t sum = 0;
    for (const int64_t tap : p.taps)
      for (int64_t i = 0; i < p.width; ++i) sum += (int32_t(x.data[tap + i]) - x.zero) * *w++;
    y[c] = float(sum) * (x.scale * p.scale[c]) + (p.bias ? p.bias[c] : 0);
    if (p.residual) y[c] += p.residual[row * p.ldy + c];
  }
  activate(p.activation, y, p.columns);
}
#else
/// Vectors of 32-bit sums that a panel has, and those that are computed together.
inline constexpr int kPanelVectors = kPanel / int(HWY_LANES(int32_t));
inline constexpr int kMostVectors = kPanelVectors < 4 ? kPanelVectors : 4;
/// Rows of a tile: its sums fill the registers, but for two levels, a product and a constant.
inline constexpr int kRows = HWY_TARGET <= HWY_AVX3 ? 8 : 3;

using D32 = hn::ScalableTag<int32_t>;
using DFloat = hn::ScalableTag<float>;
using DLevels = hn::ScalableTag<uint8_t>;
using DWeights = hn::ScalableTag<int8_t>;
using Sums = hn::Vec<D32>;
using Levels = hn::Vec<DLevels>;
using Weights = hn::Vec<DWeights>;
using Pairs = hn::Vec<hn::ScalableTag<int16_t> >;

/// Four levels of a row in every place.
HWY_INLINE Levels four(const uint8_t* at) {
  int32_t levels;
  std::memcpy(&levels, at, sizeof(levels));
  return hn::BitCast(DLevels(), hn::Set(D32(), levels));
}

/// Sums of two products: at most 2 * 127 * 128.
HWY_INLINE Pairs pairSums(Levels x, Weights w) {
#if HWY_TARGET == HWY_AVX2
  return Pairs{_mm256_maddubs_epi16(x.raw, w.raw)};
#elif HWY_TARGET == HWY_AVX3
  return Pairs{_mm512_maddubs_epi16(x.raw, w.raw)};
#else
  const hn::ScalableTag<int16_t> d;
  const auto x16 = hn::BitCast(d, x), w16 = hn::BitCast(d, w);
  const auto even = hn::Mul(hn::And(x16, hn::Set(d, 0xFF)), hn::ShiftRight<8>(hn::ShiftLeft<8>(w16)));
  return hn::Add(even, hn::Mul(hn::ShiftRight<8>(x16), hn::ShiftRight<8>(w16)));
#endif
}

HWY_INLINE Sums addPairs(Sums sums, Pairs pairs) {
#if HWY_TARGET == HWY_AVX2
  return hn::Add(sums, Sums{_mm256_madd_epi16(pairs.raw, _mm256_set1_epi16(1))});
#elif HWY_TARGET == HWY_AVX3
  return hn::Add(sums, Sums{_mm512_madd_epi16(pairs.raw, _mm512_set1_epi16(1))});
#else
  const auto both = hn::BitCast(D32(), pairs);
  return hn::Add(sums, hn::Add(hn::ShiftRight<16>(hn::ShiftLeft<16>(both)), hn::ShiftRight<16>(both)));
#endif
}

/// How products are added up: with the instructions of AVX2 and AVX-512, two quads at a time in 16 bits where a plan
/// says that they fit.
struct InPairs {
  static HWY_INLINE Sums add(Sums sums, Levels x, Weights w) { return addPairs(sums, pairSums(x, w)); }
  static HWY_INLINE Sums add(Sums sums, Levels x0, Weights w0, Levels x1, Weights w1) {
    return addPairs(sums, hn::Add(pairSums(x0, w0), pairSums(x1, w1)));
  }
};
#if HWY_TARGET == HWY_AVX3
/// With AVX512_VNNI, which this target does not imply: hence the assembler.
struct InQuads {
  static HWY_INLINE Sums add(Sums sums, Levels x, Weights w) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sums.raw) : "v"(x.raw), "v"(w.raw));
    return sums;
  }
  static HWY_INLINE Sums add(Sums sums, Levels x0, Weights w0, Levels x1, Weights w1) {
    return add(add(sums, x0, w0), x1, w1);
  }
};
#endif

/// Up to kPanel columns of the weights: quads of them, kQuadBytes each, those first that are added up in pairs.
struct Panel {
  const int8_t* weights;
  const int64_t* offsets;  // of the quads in a row of activations
  int64_t pairs, quads;
  int64_t first, columns;              // of the product
  HWY_ALIGN_MAX int32_t sums[kPanel];  // of the weights of each column
  HWY_ALIGN_MAX float scale[kPanel], bias[kPanel];
  std::span<const int8_t> next;  // weights that will be packed soon
};

/// Stores one row of sums: y = (sums - zero * sums of weights) * scales + bias, and what follows. By itself, so that
/// tiles keep their sums in registers.
inline HWY_NOINLINE void finish(const int8::Product& p, const Panel& panel, int64_t row, int64_t column, int64_t count,
                                const int32_t* sums) {
  const DFloat d;
  constexpr int L = int(HWY_LANES(float));
  const int8::Row& x = p.x[row];
  const auto zero = hn::Set(D32(), x.zero);
  const auto scale = hn::Set(d, x.scale);
  const int64_t columns = std::min(count, panel.columns - column), at = row * p.ldy + panel.first + column;
  HWY_ALIGN_MAX float piece[kPanel];
  float* y = columns == count ? p.y + at : piece;
  for (int64_t i = 0; i < count; i += L) {
    const int64_t c = column + i;
    const auto sum = hn::Sub(hn::Load(D32(), sums + i), hn::Mul(zero, hn::Load(D32(), panel.sums + c)));
    const auto scales = hn::Mul(scale, hn::Load(d, panel.scale + c));
    hn::StoreU(hn::MulAdd(hn::ConvertTo(d, sum), scales, hn::Load(d, panel.bias + c)), d, y + i);
  }
  if (p.residual)
    for (int64_t c = 0; c < columns; ++c) y[c] += p.residual[at + c];
  if (p.activation != Activation::None) activate(p.activation, y, columns);
  if (y == piece) std::copy(piece, piece + columns, p.y + at);
}

/// Asks for a piece of a row of the result, and of what is added to it, while its sums are made.
HWY_INLINE void fetch(const int8::Product& p, int64_t at, int64_t count) {
  constexpr int64_t kLine = 64 / sizeof(float);
  for (int64_t i = 0; i < count; i += kLine) {
    hwy::Prefetch(p.y + at + i);
    if (p.residual) hwy::Prefetch(p.residual + at + i);
  }
}

/// R rows by V vectors of columns.
template <class By, int R, int V>
HWY_INLINE void tile(const int8::Product& p, const Panel& panel, int64_t row, int64_t column) {
  const DWeights d;
  constexpr int L = int(HWY_LANES(int8_t));
  const uint8_t* x[R];
  Sums sums[R][V];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    x[i] = p.x[row + i].data;
    fetch(p, (row + i) * p.ldy + panel.first + column, std::min<int64_t>(V * L / 4, panel.columns - column));
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sums[i][v] = hn::Zero(D32());
  }
  const int8_t* w = panel.weights + 4 * column;
  const int64_t* at = panel.offsets;
  for (int64_t q = 0; q < panel.pairs; ++q, at += 2, w += 2 * kQuadBytes) {
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const Levels x0 = four(x[i] + at[0]), x1 = four(x[i] + at[1]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v)
        sums[i][v] = By::add(sums[i][v], x0, hn::Load(d, w + v * L), x1, hn::Load(d, w + kQuadBytes + v * L));
    }
  }
  for (int64_t q = 2 * panel.pairs; q < panel.quads; ++q, ++at, w += kQuadBytes) {
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const Levels x0 = four(x[i] + at[0]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sums[i][v] = By::add(sums[i][v], x0, hn::Load(d, w + v * L));
    }
  }
  constexpr int N = V * int(HWY_LANES(int32_t));
  HWY_ALIGN_MAX int32_t stored[R][N];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) hn::Store(sums[i][v], D32(), stored[i] + v * (N / V));
  for (int i = 0; i < R; ++i) finish(p, panel, row + i, column, N, stored[i]);
}

/// Rows `begin` to `end` by V vectors of a panel.
template <class By, int V>
void rowsByVectors(const int8::Product& p, const Panel& panel, int64_t begin, int64_t end, int64_t column) {
  int64_t row = begin;
  auto next = [&]<int R>(std::integral_constant<int, R>) {
    for (; row + R <= end; row += R) {
      // Memory brings the next weights while these are used.
      const auto part = [&](int64_t r) { return int64_t(panel.next.size()) * (r - begin) / (end - begin); };
      for (int64_t at = part(row); at < part(row + R); at += 64) hwy::Prefetch(panel.next.data() + at);
      tile<By, R, V>(p, panel, row, column);
    }
  };
  next(std::integral_constant<int, kRows>{});
  if constexpr (kRows > 4) next(std::integral_constant<int, 4>{});
  next(std::integral_constant<int, 2>{});
  next(std::integral_constant<int, 1>{});
}

/// Rows by a panel, as many of its vectors at a time as have columns in use.
template <class By>
void rowsByPanel(const int8::Product& p, const Panel& panel, int64_t begin, int64_t end) {
  constexpr int L = int(HWY_LANES(float)), V = kMostVectors;
  for (int64_t column = 0; column < panel.columns; column += V * L) {
    if (panel.columns - column <= V / 2 * L) rowsByVectors<By, V / 2>(p, panel, begin, end, column);
    else rowsByVectors<By, V>(p, panel, begin, end, column);
  }
}

/// R rows by C columns as inner products, weights as they lie: for few rows. Zeros follow each row's levels.
template <class By, int R, int C>
void dotTile(const int8::Product& p, int64_t row, int64_t column) {
  const DLevels d8;
  const DWeights dw;
  constexpr int L = int(HWY_LANES(int8_t));
  const Levels one = hn::Set(d8, 1);
  Sums sums[R + 1][C];  // the last ones are those of the weights
  for (auto& all : sums)
    for (auto& sum : all) sum = hn::Zero(D32());
  const int8_t* w = p.weight + column * p.width;
  auto step = [&](int64_t k, const int8_t* weights, int64_t stride) HWY_ATTR {
#pragma GCC unroll 4
    for (int j = 0; j < C; ++j) {
      const Weights y = hn::LoadU(dw, weights + j * stride);
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i) sums[i][j] = By::add(sums[i][j], hn::LoadU(d8, p.x[row + i].data + k), y);
      sums[R][j] = By::add(sums[R][j], one, y);
    }
  };
  int64_t k = 0;
  for (; k + L <= p.width; k += L) step(k, w + k, p.width);
  if (k < p.width) {
    HWY_ALIGN_MAX int8_t rest[C][L] = {};
    for (int j = 0; j < C; ++j) std::copy(w + j * p.width + k, w + (j + 1) * p.width, rest[j]);
    step(k, rest[0], L);
  }
  for (int j = 0; j < C; ++j) {
    const int32_t weights = hn::GetLane(hn::SumOfLanes(D32(), sums[R][j]));
    for (int i = 0; i < R; ++i) {
      const int8::Row& x = p.x[row + i];
      const int64_t at = (row + i) * p.ldy + column + j;
      const int32_t sum = hn::GetLane(hn::SumOfLanes(D32(), sums[i][j])) - x.zero * weights;
      p.y[at] = float(sum) * (x.scale * p.scale[column + j]) + (p.bias ? p.bias[column + j] : 0);
      if (p.residual) p.y[at] += p.residual[at];
    }
  }
  for (int i = 0; i < R; ++i) activate(p.activation, p.y + (row + i) * p.ldy + column, C);
}

#endif

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
