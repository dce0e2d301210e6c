#pragma once
// The softmax of attention's forward pass, tile by tile: Milakov and Gimelshein, "Online normalizer calculation for
// softmax" (2018).
#include "flash.cuh"

namespace anneal::cuda {

/// What a lane keeps of the rows that it has a part of.
template <int M>
struct Softmax {
  float most[M][2], total[M][2];

  __device__ __forceinline__ Softmax() {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) most[m][h] = -INFINITY, total[m][h] = 0;
  }

  /// Scores become weights relative to the largest so far. Calls rescale(m, h, factor) for what sums of the rows 16 m +
  /// 8 h up to now are to be multiplied by.
  template <int N, class F>
  __device__ __forceinline__ void weigh(float (&w)[M][N][4], float factor, F&& rescale) {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float best = most[m][h];
#pragma unroll
        for (int n = 0; n < N; ++n) best = fmaxf(best, fmaxf(w[m][n][2 * h], w[m][n][2 * h + 1]));
        best = overQuad(best, [](float a, float b) { return fmaxf(a, b); });
        const float shift = best == -INFINITY ? 0.0f : best * factor;  // a row with nothing but masked scores, or NaN
        const float before = exp2Fast(most[m][h] * factor - shift);
        float part = 0;
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
          for (int i = 2 * h; i < 2 * h + 2; ++i) part += w[m][n][i] = exp2Fast(w[m][n][i] * factor - shift);
        most[m][h] = best;
        total[m][h] = total[m][h] * before + part;
        rescale(m, h, before);
      }
  }

  /// What sums are to be multiplied by in the end; the log-sum-exp of the rows from `row` on is written.
  __device__ __forceinline__ void finish(float factor, float (&to)[M][2], float* logSumExp, int row, int rows) const {
    const LanePlace place;
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float all = overQuad(total[m][h], [](float a, float b) { return a + b; });
        const bool nothing = most[m][h] == -INFINITY && all == 0;
        to[m][h] = nothing ? 0.0f : 1 / all;
        const int own = row + place.rowOf(m, 2 * h);
        if (place.column == 0 && own < rows)
          logSumExp[own] = nothing ? INFINITY : (most[m][h] * factor + log2f(all)) * kLogOf2;
      }
  }
};

template <int M, int N>
__device__ __forceinline__ void rescaleRow(float (&sum)[M][N][4], int m, int h, float by) {
#pragma unroll
  for (int n = 0; n < N; ++n) {
    sum[m][n][2 * h] *= by;
    sum[m][n][2 * h + 1] *= by;
  }
}

}  // namespace anneal::cuda
