#pragma once
// Tiles of attention's products in float32, for heads of any depth.
#include "attention_dropout.cuh"
#include "attention_mask.cuh"
#include "heads.cuh"
#include "index.h"
#include "value.h"

namespace anneal::cuda {

constexpr int kAttentionTile = 64, kAttentionDepth = 16, kAttentionThreads = 256;

/// One head's matrix; what is outside reads as 0.
struct HeadMatrix {
  const float* data;
  int64_t row, column;
  int rows, columns;

  __device__ float at(int i, int j) const { return i < rows && j < columns ? data[i * row + j * column] : 0.0f; }
  /// Calls f(k, element) for those at (i + k step, j), 0 <= k < Count: one address goes from each to the next, instead
  /// of as many being kept.
  template <int Count, class F>
  __device__ __forceinline__ void down(int i, int j, int step, F&& f) const {
    const float* from = data + i * row + j * column;
#pragma unroll
    for (int k = 0; k < Count; ++k, i += step, from += step * row) f(k, i < rows && j < columns ? *from : 0.0f);
  }
};

/// [batch, heads, time, depth] of any strides.
struct HeadTensor {
  const float* data = nullptr;
  int64_t stride[4] = {};
  int heads = 1, rows = 0, columns = 0;

  HeadTensor() = default;
  explicit HeadTensor(const View& v)
      : data(v.as<const float>()), heads(int(v.shape[1])), rows(int(v.shape[2])), columns(int(v.shape[3])) {
    for (int i = 0; i < 4; ++i) stride[i] = v.strides[i];
  }
  __device__ HeadMatrix head(int batch, int head) const {
    return {data + batch * stride[0] + head * stride[1], stride[2], stride[3], rows, columns};
  }
};

struct FlashSizes {
  HeadTensor q, k, v;
  AttentionMask<float> mask;
  WeightDropout dropout;
  float scale = 1;
  int group = 1;  // heads of q that share one of k and v
};

/// What the threads of a block share. A thread's part of a tile is 4 rows by 4 columns: 4 y + i, 4 x + j.
struct AttentionShared {
  Pack<float, 4> left[kAttentionDepth][kAttentionTile / 4 + 1], right[kAttentionDepth][kAttentionTile / 4 + 1];
  Pack<float, 4> weights[kAttentionTile][kAttentionTile / 4 + 1];  // [column][row]
};

__device__ __forceinline__ void loadDepth(Pack<float, 4> (&tile)[kAttentionDepth][kAttentionTile / 4 + 1],
                                          const HeadMatrix& from, int row, int depth) {
  constexpr int kStep = kAttentionThreads / kAttentionDepth;
  const int k = int(threadIdx.x) % kAttentionDepth, first = int(threadIdx.x) / kAttentionDepth;
  from.down<kAttentionTile / kStep>(row + first, depth + k, kStep, [&](int i, float value) {
    const int m = first + i * kStep;
    tile[k][m / 4].v[m % 4] = value;
  });
}

/// The products of the rows of `a` from `row` on with those of `b` from `column` on.
__device__ __forceinline__ void rowProducts(AttentionShared& shared, const HeadMatrix& a, int row, const HeadMatrix& b,
                                            int column, float (&sum)[4][4]) {
  const int x = int(threadIdx.x) % 16, y = int(threadIdx.x) / 16;
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) sum[i][j] = 0;
  for (int depth = 0; depth < a.columns; depth += kAttentionDepth) {
    __syncthreads();
    loadDepth(shared.left, a, row, depth);
    loadDepth(shared.right, b, column, depth);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kAttentionDepth; ++k) {
      const Pack<float, 4> l = shared.left[k][y], r = shared.right[k][x];
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] += l.v[i] * r.v[j];
    }
  }
}

/// What becomes of a thread's part of the weights, or of what comes back to them, under dropout. Rows are queries and
/// columns keys from those on, or the other way round if `Turned`.
template <bool Turned>
__device__ __forceinline__ void dropWeights(float (&w)[4][4], const FlashSizes& s, int batch, int head, int row,
                                            int column) {
  if (!s.dropout) return;
  const uint64_t kept = s.dropout.kept<16>(batch, head, [&](int bit, int& query, int& key) {
    const int m = row + bit / 4, n = column + bit % 4;
    query = Turned ? n : m;
    key = Turned ? m : n;
  });
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) w[i][j] = kept >> (4 * i + j) & 1 ? w[i][j] * s.dropout.scale : 0;
}

/// Leaves a tile of weights for addRows.
__device__ __forceinline__ void shareWeights(AttentionShared& shared, const float (&weights)[4][4]) {
  const int x = int(threadIdx.x) % 16, y = int(threadIdx.x) / 16;
  __syncthreads();
#pragma unroll
  for (int j = 0; j < 4; ++j)
    shared.weights[x * 4 + j][y] = {{weights[0][j], weights[1][j], weights[2][j], weights[3][j]}};
}

/// sum += the shared weights times the rows of `values` from `row` on, in the columns column + 16 c + x.
template <int N>
__device__ __forceinline__ void addRows(AttentionShared& shared, const HeadMatrix& values, int row, int column,
                                        float (&sum)[4][N]) {
  __shared__ float tile[kAttentionDepth][16 * N];
  constexpr int kStep = kAttentionThreads / (16 * N);
  const int t = int(threadIdx.x), x = t % 16, y = t / 16;
  for (int k0 = 0; k0 < kAttentionTile && row + k0 < values.rows; k0 += kAttentionDepth) {
    __syncthreads();
    values.down<kAttentionDepth / kStep>(
        row + k0 + t / (16 * N), column + t % (16 * N), kStep,
        [&](int i, float value) { tile[t / (16 * N) + i * kStep][t % (16 * N)] = value; });
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kAttentionDepth; ++k) {
      const Pack<float, 4> w = shared.weights[k0 + k][y];
#pragma unroll
      for (int c = 0; c < N; ++c) {
        const float value = tile[k][c * 16 + x];
#pragma unroll
        for (int i = 0; i < 4; ++i) sum[i][c] += w.v[i] * value;
      }
    }
  }
}

/// Writes what addRows has summed to the rows of `to` [rows, columns], `pitch` apart, from `row` on.
template <int N>
__device__ __forceinline__ void storeRows(float* to, int64_t pitch, int rows, int columns, int row, int column,
                                          const float (&sum)[4][N]) {
  const int x = int(threadIdx.x) % 16, y = int(threadIdx.x) / 16;
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int c = 0; c < N; ++c) {
      const int m = row + y * 4 + i, n = column + c * 16 + x;
      if (m < rows && n < columns) to[m * pitch + n] = sum[i][c];
    }
}

/// The largest value, or the sum, over the 16 threads that have a row's columns.
template <class F>
__device__ __forceinline__ float overRow(float value, F&& merge) {
#pragma unroll
  for (int bits = 8; bits > 0; bits /= 2) value = merge(value, __shfl_xor_sync(0xffffffffu, value, bits));
  return value;
}

}  // namespace anneal::cuda
