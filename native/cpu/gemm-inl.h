// Register tiles of matrix products, compiled once for each instruction set. The blocking is that of Goto and van de
// Geijn, "Anatomy of high-performance matrix multiplication" (2008).
#if defined(ANNEAL_CPU_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_GEMM_INL_H_
#undef ANNEAL_CPU_GEMM_INL_H_
#else
#define ANNEAL_CPU_GEMM_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <type_traits>

#include "cpu/convert.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Registers: kRows x 2 vectors of sums, 2 of B, the rest for A. AVX-512 has 32 of them, older sets 16.
inline constexpr int kRows = HWY_TARGET <= HWY_AVX3 ? 12 : 6;
template <class T>
inline constexpr int kLanes = HWY_LANES(T);
template <class T>
inline constexpr int kColumns = 2 * kLanes<T>;

/// Whether lines of kRows rows that are so far apart fall into one set of the first-level cache, which has fewer ways
/// (8 or 12).
template <class T>
constexpr bool crowds(int64_t stride) {
  return kRows >= 12 && stride * int64_t(sizeof(T)) % 4096 == 0;
}

/// What becomes of a tile's sums: c = alpha * (partial + sum) + beta * c + bias.
template <class T>
struct Result {
  T* c;
  int64_t ldc;
  T alpha = 1, beta = 0;
  const T* bias = nullptr;  // one per column, `biasStep` apart
  int64_t biasStep = 1;
  const T* partial = nullptr;  // sums of what lies before in the depth
  int64_t ldp = 0;

  Result at(int64_t row, int64_t column) const {
    Result out = *this;
    out.c += row * ldc + column;
    if (bias) out.bias += column * biasStep;
    if (partial) out.partial += row * ldp + column;
    return out;
  }
  void put(int64_t row, int64_t column, T sum) const {
    T& to = c[row * ldc + column];
    if (partial) sum += partial[row * ldp + column];
    T value = alpha * sum;
    if (beta != T(0)) value += beta * to;
    if (bias) value += bias[column * biasStep];
    to = value;
  }
};

/// What comes into the second-level cache while a tile is made: from `next` on, `pace` bytes at a time.
struct Fetch {
  const char* next;
  int64_t pace;
  HWY_INLINE void operator()() {
    __builtin_prefetch(next, 0, 2);
    next += pace;
  }
};
struct NoFetch {
  HWY_INLINE void operator()() {}
};

/// A panel of T, over the time that `rows` rows take with the one before it: by itself it would not be there in time.
template <class T>
Fetch fetchPanel(const T* panel, int64_t rows) {
  const int64_t tiles = (rows + kRows - 1) / kRows;
  return {reinterpret_cast<const char*>(panel), (kColumns<T> * int64_t(sizeof(T)) + tiles - 1) / tiles};
}

/// Rows that share an address: one for each of 12 rows would be more than there are registers for them.
template <int R>
inline constexpr int kRowsApart = R > 6 ? 3 : 1;

/// R x V vectors of A B. Row i of A starts at a + i * aRow and goes on by aStep; B's rows are bStep apart. `fetch` is
/// called for each of the k steps.
template <class T, int R, int V, class F = NoFetch>
HWY_INLINE void tile(int64_t k, const T* HWY_RESTRICT a, int64_t aRow, int64_t aStep, const T* HWY_RESTRICT b,
                     int64_t bStep, int64_t columns, const Result<T>& result, F&& fetch = {}) {
  const hn::ScalableTag<T> d;
  using Vec = hn::Vec<decltype(d)>;
  constexpr int L = kLanes<T>;
  // The lines of C come while the sums are made: waiting for them took up to a fifth of a large product's time.
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    __builtin_prefetch(result.c + i * result.ldc, 1);
    __builtin_prefetch(result.c + i * result.ldc + V * L - 1, 1);
  }
  Vec sum[R][V];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[i][v] = hn::Zero(d);
  // What is needed after the loop stays in memory: else the compiler keeps it in registers, and addresses of A on the
  // stack.
  const Result<T>* later = &result;
  __asm__ volatile("" : "+r"(later) : : "memory");
  constexpr int S = kRowsApart<R>;
  const T* row[(R + S - 1) / S];
#pragma GCC unroll 16
  for (int i = 0; i < R; i += S) row[i / S] = a + i * aRow;
  std::decay_t<F> ahead = fetch;
  int64_t at = 0;
#pragma GCC unroll 4
  for (int64_t p = 0; p < k; ++p) {
    Vec y[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) y[v] = hn::LoadU(d, b + v * L);
    ahead();
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const Vec x = hn::Set(d, row[i / S][i % S * aRow + at]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[i][v] = hn::MulAdd(x, y[v], sum[i][v]);
    }
    at += aStep;
    b += bStep;
  }
  fetch = ahead;
  const Result<T>& out = *later;
  const bool plain = columns == V * L && out.biasStep == 1;
  const Vec alpha = hn::Set(d, out.alpha), beta = hn::Set(d, out.beta);
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    T* c = out.c + i * out.ldc;
    if (HWY_LIKELY(plain)) {
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        Vec value = sum[i][v];
        if (out.partial) value = hn::Add(value, hn::LoadU(d, out.partial + i * out.ldp + v * L));
        value = hn::Mul(value, alpha);
        if (out.beta != T(0)) value = hn::MulAdd(beta, hn::LoadU(d, c + v * L), value);
        if (out.bias) value = hn::Add(value, hn::LoadU(d, out.bias + v * L));
        hn::StoreU(value, d, c + v * L);
      }
    } else {
      HWY_ALIGN T sums[V * L];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) hn::Store(sum[i][v], d, sums + v * L);
      for (int64_t j = 0; j < columns; ++j) out.put(i, j, sums[j]);
    }
  }
}

/// The same for integers, left to the compiler's vectoriser; unsigned, so that they wrap.
template <class T, int R, int V, class F = NoFetch>
requires std::is_integral_v<T>
void tile(int64_t k, const T* HWY_RESTRICT a, int64_t aRow, int64_t aStep, const T* HWY_RESTRICT b, int64_t bStep,
          int64_t columns, const Result<T>& out, F&& = {}) {
  constexpr int N = V * kLanes<T>;
  T sum[R][N] = {};
  for (int64_t p = 0; p < k; ++p, a += aStep, b += bStep)
    for (int i = 0; i < R; ++i)
      for (int j = 0; j < N; ++j) sum[i][j] += a[i * aRow] * b[j];
  for (int i = 0; i < R; ++i)
    for (int64_t j = 0; j < columns; ++j) out.put(i, j, sum[i][j]);
}

/// m rows of A, anywhere in memory, by one panel of B that has `columns` (at most V vectors) columns in use.
template <class T, int V = 2, class F = NoFetch>
void rowsByPanel(int64_t m, int64_t k, const T* a, int64_t aRow, int64_t aStep, const T* b, int64_t bStep,
                 int64_t columns, const Result<T>& out, F fetch = {}) {
  int64_t i = 0;
  auto next = [&]<int R>(std::integral_constant<int, R>) {
    for (; i + R <= m; i += R) tile<T, R, V>(k, a + i * aRow, aRow, aStep, b, bStep, columns, out.at(i, 0), fetch);
  };
  next(std::integral_constant<int, kRows>{});
  if constexpr (kRows > 6) next(std::integral_constant<int, 6>{});
  next(std::integral_constant<int, 4>{});
  next(std::integral_constant<int, 2>{});
  next(std::integral_constant<int, 1>{});
}

/// The same, of A in packed panels of kRows rows, each of them `panel` elements after the one before.
template <class T, class F = NoFetch>
void panelsByPanel(int64_t m, int64_t k, const T* a, int64_t panel, const T* b, int64_t columns, const Result<T>& out,
                   F fetch = {}) {
  int64_t i = 0;
  for (; i + kRows <= m; i += kRows, a += panel)
    tile<T, kRows, 2>(k, a, 1, kRows, b, kColumns<T>, columns, out.at(i, 0), fetch);
  if (i < m) rowsByPanel<T>(m - i, k, a, 1, kRows, b, kColumns<T>, columns, out.at(i, 0), fetch);
}

#if HWY_TARGET != HWY_SCALAR
/// 4 x 4 floats, transposed: four rows `from` apart become four rows `to` apart.
HWY_INLINE void transpose4(const float* in, int64_t from, float* out, int64_t to) {
  const hn::FixedTag<float, 4> d;
  const hn::FixedTag<double, 2> pairs;
  auto r0 = hn::LoadU(d, in), r1 = hn::LoadU(d, in + from), r2 = hn::LoadU(d, in + 2 * from),
       r3 = hn::LoadU(d, in + 3 * from);
  auto a = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1)), b = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
  auto c = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1)), e = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, a, b)), d, out);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, a, b)), d, out + to);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, c, e)), d, out + 2 * to);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, c, e)), d, out + 3 * to);
}
#endif

/// Packs `k` groups of `count` elements (at most Width), groups `along` apart and elements `across` apart, into groups
/// of Width, filled up with zeros.
template <int Width, class T, class S>
void packPanel(const S* in, int64_t along, int64_t across, int64_t k, int64_t count, T* HWY_RESTRICT out) {
  int64_t p = 0;
  if (count == Width && across == 1) {
    for (; p < k; ++p)
      for (int i = 0; i < Width; ++i) out[p * Width + i] = convertTo<T>(in[p * along + i]);
    return;
  }
#if HWY_TARGET != HWY_SCALAR
  if constexpr (std::is_same_v<T, float> && std::is_same_v<S, float> && Width % 4 == 0) {
    if (count == Width && along == 1)
      for (; p + 4 <= k; p += 4)
        for (int i = 0; i < Width; i += 4) transpose4(in + p + i * across, across, out + p * Width + i, Width);
  }
#endif
  if (count == Width) {
    for (; p < k; ++p)
      for (int i = 0; i < Width; ++i) out[p * Width + i] = convertTo<T>(in[p * along + i * across]);
    return;
  }
  for (; p < k; ++p)
    for (int i = 0; i < Width; ++i) out[p * Width + i] = i < count ? convertTo<T>(in[p * along + i * across]) : T(0);
}

/// R x 4 inner products of vectors that are contiguous: for few rows, where packing B would cost more than the product.
template <class T, int R>
void dotTile(int64_t k, const T* a, int64_t aRow, const T* b, int64_t bColumn, const Result<T>& out) {
  const hn::ScalableTag<T> d;
  using Vec = hn::Vec<decltype(d)>;
  constexpr int L = kLanes<T>;
  Vec sum[R][4];
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sum[i][j] = hn::Zero(d);
  int64_t p = 0;
  for (; p + L <= k; p += L) {
    Vec y[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) y[j] = hn::LoadU(d, b + j * bColumn + p);
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
      const Vec x = hn::LoadU(d, a + i * aRow + p);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sum[i][j] = hn::MulAdd(x, y[j], sum[i][j]);
    }
  }
  for (int i = 0; i < R; ++i) {
    for (int j = 0; j < 4; ++j) {
      T total = hn::GetLane(hn::SumOfLanes(d, sum[i][j]));
      for (int64_t q = p; q < k; ++q) total += a[i * aRow + q] * b[j * bColumn + q];
      out.put(i, j, total);
    }
  }
}

template <class T>
T dot(int64_t k, const T* a, const T* b) {
  const hn::ScalableTag<T> d;
  constexpr int L = kLanes<T>;
  auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  int64_t p = 0;
  for (; p + 4 * L <= k; p += 4 * L) {
    s0 = hn::MulAdd(hn::LoadU(d, a + p), hn::LoadU(d, b + p), s0);
    s1 = hn::MulAdd(hn::LoadU(d, a + p + L), hn::LoadU(d, b + p + L), s1);
    s2 = hn::MulAdd(hn::LoadU(d, a + p + 2 * L), hn::LoadU(d, b + p + 2 * L), s2);
    s3 = hn::MulAdd(hn::LoadU(d, a + p + 3 * L), hn::LoadU(d, b + p + 3 * L), s3);
  }
  T total = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; p < k; ++p) total += a[p] * b[p];
  return total;
}

/// Inner products of m rows with n columns, both contiguous along k.
template <class T>
void dots(int64_t m, int64_t n, int64_t k, const T* a, int64_t aRow, const T* b, int64_t bColumn,
          const Result<T>& out) {
  int64_t j = 0;
  for (; j + 4 <= n; j += 4) {
    int64_t i = 0;
    for (; i + 2 <= m; i += 2) dotTile<T, 2>(k, a + i * aRow, aRow, b + j * bColumn, bColumn, out.at(i, j));
    if (i < m) dotTile<T, 1>(k, a + i * aRow, aRow, b + j * bColumn, bColumn, out.at(i, j));
  }
  for (; j < n; ++j)
    for (int64_t i = 0; i < m; ++i) out.put(i, j, dot(k, a + i * aRow, b + j * bColumn));
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
