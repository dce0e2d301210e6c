#pragma once
// What the kernels of attention on tensor cores share. A block has 4 warps; each has 16 or 32 rows of the block's own
// tile, and all of them go through the tiles of the other side, which arrive while the ones before are worked on.
#include <algorithm>

#include "attention_dropout.cuh"
#include "attention_mask.cuh"
#include "flash.h"
#include "heads.cuh"
#include "tensorcore.cuh"

namespace anneal::cuda {

constexpr int kFlashWarps = 4, kFlashThreads = kFlashWarps * kWarp;
constexpr float kLog2OfE = 1.4426950408889634f, kLogOf2 = 0.6931471805599453f;

/// [batch, heads, time, depth], contiguous along the depth.
template <class T>
struct Heads {
  const T* data = nullptr;
  int64_t batch = 0, head = 0, row = 0;  // strides
  int heads = 1, rows = 0, columns = 0;

  Heads() = default;
  explicit Heads(const View& v)
      : data(v.as<const T>()),
        batch(v.strides[0]),
        head(v.strides[1]),
        row(v.strides[2]),
        heads(int(v.shape[1])),
        rows(int(v.shape[2])),
        columns(int(v.shape[3])) {}
  __device__ __forceinline__ const T* at(int b, int h) const { return data + b * batch + h * head; }
};

template <class T>
struct FlashTensors {
  Heads<T> q, k, v;
  AttentionMask<T> mask;
  WeightDropout dropout;
  float scale = 1;
  int group = 1;  // heads of q that share one of k and v

  explicit FlashTensors(const FlashCall& call)
      : q(call.q), k(call.k), v(call.v), scale(float(call.attrs.scale)), group(q.heads / k.heads) {
    mask.causal = call.attrs.causal;
    if (call.mask.defined) setMask(mask, call.mask, call.q, call.k);
    if (call.attrs.dropoutP > 0) dropout = WeightDropout(call.attrs, call.key, call.q, call.k);
  }
  /// Whether scores need more than a factor above 0 and the causal rule, or weights are dropped.
  bool masked() const { return mask.allowed || mask.added || !(scale > 0) || dropout.bound != 0; }
};

/// Calls f(T, depth, whether it is masked) for the kernels' parameters.
template <class T, class F>
void byDepth(const FlashTensors<T>& s, F&& f) {
  const auto inner = [&]<int D>(std::integral_constant<int, D> depth) {
    if (s.masked()) f(depth, std::true_type{});
    else f(depth, std::false_type{});
  };
  if (std::max(s.q.columns, s.v.columns) <= 64) inner(std::integral_constant<int, 64>{});
  else inner(std::integral_constant<int, 128>{});
}
template <class F>
void by16Bits(DType dtype, F&& f) {
  if (dtype == DType::Float16) f(TypeTag<Half>{});
  else f(TypeTag<BFloat16>{});
}

/// Starts to copy rows from `row` on; what is outside becomes 0.
template <int Rows, class T, int D>
__device__ __forceinline__ void copyRows(const SharedRows<T, D>& to, const Heads<T>& heads, const T* from, int row) {
  constexpr int kParts = D / 8, kStep = kFlashThreads / kParts;
  const int r = int(threadIdx.x) / kParts, part = int(threadIdx.x) % kParts;
#pragma unroll
  for (int i = 0; i < Rows; i += kStep) {
    const int at = row + r + i;
    const bool inside = at < heads.rows && part * 8 < heads.columns;
    copyAsync(to.part(r + i, part), inside ? from + at * heads.row + part * 8 : from, inside);
  }
}

/// Writes what a warp has summed for its rows, times `factor`, to the rows of a matrix, `pitch` apart, from `row` on,
/// by way of shared memory that no other warp uses any more.
template <class T, int D, int M>
__device__ __forceinline__ void storeRows(const SharedRows<T, D>& by, const float (&sum)[M][D / 8][4],
                                          const float (&factor)[M][2], T* to, int64_t pitch, int row, int rows,
                                          int columns) {
  const LanePlace own;
  __syncwarp();
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int d = 0; d < D / 8; ++d)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const uint32_t pair = packPair<T>(sum[m][d][2 * h] * factor[m][h], sum[m][d][2 * h + 1] * factor[m][h]);
        *reinterpret_cast<uint32_t*>(by.part(own.rowOf(m, 2 * h), d) + own.column) = pair;
      }
  __syncwarp();
  constexpr int kParts = D / 8;
#pragma unroll
  for (int i = laneNumber(); i < 16 * M * kParts; i += kWarp) {
    const int r = i / kParts, part = i % kParts;
    if (row + r < rows && part * 8 < columns)
      *reinterpret_cast<uint4*>(to + (row + r) * pitch + part * 8) = *reinterpret_cast<const uint4*>(by.part(r, part));
  }
}

/// The scores of one head; powers of 2 are taken of them times factor().
template <bool Masked, class T>
struct Scores {
  const FlashTensors<T>& s;
  int batch, head;

  __device__ __forceinline__ float factor() const { return Masked ? 1.0f : s.scale * kLog2OfE; }
  /// Of a product of a query and a key. -infinity where the key takes no part.
  __device__ __forceinline__ float of(float product, int query, int key) const {
    if (query >= s.q.rows || key >= s.k.rows || (s.mask.causal && key > query)) return -INFINITY;
    return Masked ? s.mask.apply(product * s.scale, batch, head, query, key) * kLog2OfE : product;
  }
  /// Of the products of queries and keys from here on, in fragments, where not all of them simply take part.
  template <int M, int N>
  __device__ __forceinline__ void apply(float (&w)[M][N][4], const LanePlace& place, int query, int key) const {
    if (Masked || key + 8 * N > s.k.rows || (s.mask.causal && key + 8 * N - 1 > query)) {
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i)
            w[m][n][i] = of(w[m][n][i], query + place.rowOf(m, i), key + place.columnOf(n, i));
    }
  }
  /// The same where rows are keys and columns queries; keys beyond the last may take part.
  template <int M, int N>
  __device__ __forceinline__ void applyTurned(float (&w)[M][N][4], const LanePlace& place, int query, int key) const {
    if (Masked || (s.mask.causal && query < key + 16 * M)) {
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i)
            w[m][n][i] = of(w[m][n][i], query + place.columnOf(n, i), key + place.rowOf(m, i));
    }
  }
};

/// Which weights of fragments dropout keeps: bit (m N + n) 4 + i. Rows are queries and columns keys from those on, or
/// the other way round if `Turned`.
template <bool Turned, int M, int N, class T>
__device__ __forceinline__ uint64_t keptWeights(const FlashTensors<T>& s, const LanePlace& place, int batch, int head,
                                                int query, int key) {
  static_assert(M * N * 4 <= 64);
  return s.dropout.template kept<M * N * 4>(batch, head, [&](int bit, int& q, int& k) {
    const int row = place.rowOf(bit / (4 * N), bit % 4), column = place.columnOf(bit / 4 % N, bit % 4);
    q = query + (Turned ? column : row);
    k = key + (Turned ? row : column);
  });
}
/// What is dropped of `from` becomes 0, the rest grows by `factor`.
template <int M, int N>
__device__ __forceinline__ void keepWeights(float (&to)[M][N][4], const float (&from)[M][N][4], uint64_t kept,
                                            float factor) {
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) to[m][n][i] = kept >> ((m * N + n) * 4 + i) & 1 ? from[m][n][i] * factor : 0;
}

struct KeyRange {
  int begin, end;
};

/// The keys that queries before `lastQuery` may see. A mask that is the same for all queries, such as one of padding,
/// is looked through for its first and last key.
template <bool Masked, class T>
__device__ __forceinline__ KeyRange visibleKeys(const FlashTensors<T>& s, int batch, int head, int lastQuery) {
  KeyRange range{0, s.mask.causal ? std::min(s.k.rows, lastQuery) : s.k.rows};
  if constexpr (Masked) {
    if (s.mask.allowed && s.mask.stride[2] == 0) {
      __shared__ KeyRange shared[kWarp];
      KeyRange seen{range.end, 0};
      for (int key = int(threadIdx.x); key < range.end; key += int(blockDim.x))
        if (s.mask.allowed[batch * s.mask.stride[0] + head * s.mask.stride[1] + key * s.mask.stride[3]])
          seen = {std::min(seen.begin, key), key + 1};
      range = mergeBlock(seen, shared, [](KeyRange a, KeyRange b) {
        return KeyRange{std::min(a.begin, b.begin), std::max(a.end, b.end)};
      });
    }
  }
  return range;
}

/// The sum or the largest value over the 4 lanes that have a row.
template <class F>
__device__ __forceinline__ float overQuad(float value, F&& merge) {
  value = merge(value, __shfl_xor_sync(kAllLanes, value, 1));
  return merge(value, __shfl_xor_sync(kAllLanes, value, 2));
}

}  // namespace anneal::cuda
