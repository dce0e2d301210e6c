#pragma once
// What the kernels of attention's gradients share: Dao et al., "FlashAttention" (2022), but with one kernel for the
// keys' side and one for the queries', so that sums have one order and need no atomics.
#include "device.h"
#include "flash.cuh"

namespace anneal::cuda {

/// Of a query: the log-sum-exp of its scores to base 2, and the gradient of its result times the result.
struct alignas(8) Statistics {
  float logSumExp, mean;
};
constexpr int kPadding = 64;  // those of a head's queries are padded to multiples of this

template <class T>
struct FlashGradients : FlashTensors<T> {
  Heads<T> grad;  // of the result
  const Statistics* statistics = nullptr;
  int padded = 0;  // of each head

  __device__ __forceinline__ const Statistics* statisticsOf(int batch, int head) const {
    return statistics + (int64_t(batch) * this->q.heads + head) * padded;
  }
};

/// The steps of a tile of keys: through the queries of each head that shares these keys.
template <int Size>
struct QuerySteps {
  int first = 0, each = 1, steps = 0;  // the first query, a multiple of Size; steps for each head, and all

  template <bool Masked, class T>
  __device__ __forceinline__ QuerySteps(std::bool_constant<Masked>, const FlashGradients<T>& s, int batch, int key,
                                        int keys) {
    first = s.mask.causal ? key : 0;
    steps = first < s.q.rows ? (s.q.rows - first + Size - 1) / Size : 0;
    each = std::max(steps, 1);
    steps *= s.group;
    if (Masked && s.mask.stride[1] == 0) {
      const KeyRange range = visibleKeys<Masked>(s, batch, 0, s.q.rows);
      if (range.end <= key || range.begin >= key + keys) steps = 0;
    }
  }
  __device__ __forceinline__ int headOf(int step) const { return step / each; }
  __device__ __forceinline__ int queryOf(int step) const { return first + step % each * Size; }
};

using StatisticsPair = Pack<Statistics, 2>;
/// Those of the two queries whose columns a lane holds in products 8 n and on.
__device__ __forceinline__ StatisticsPair pairAt(const Statistics* of, const LanePlace& place, int n) {
  return *reinterpret_cast<const StatisticsPair*>(of + place.columnOf(n, 0));
}

/// Scores become weights; queries are columns.
template <int M, int N>
__device__ __forceinline__ void weighColumns(float (&w)[M][N][4], const LanePlace& place, const Statistics* of,
                                             float factor) {
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const StatisticsPair pair = pairAt(of, place, n);
#pragma unroll
      for (int i = 0; i < 4; ++i) w[m][n][i] = exp2Fast(w[m][n][i] * factor - pair.v[i % 2].logSumExp);
    }
}
/// Weights become the gradients of scores, from their own.
template <int M, int N>
__device__ __forceinline__ void changeColumns(float (&w)[M][N][4], const float (&change)[M][N][4],
                                              const LanePlace& place, const Statistics* of) {
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const StatisticsPair pair = pairAt(of, place, n);
#pragma unroll
      for (int i = 0; i < 4; ++i) w[m][n][i] *= change[m][n][i] - pair.v[i % 2].mean;
    }
}

/// The statistics of all queries, padded with such as give weights of 0.
void summarise(const View& out, const View& logSumExp, const View& grad, int padded, Statistics* to);

/// Calls f with what the gradients' kernels get.
template <class F>
void withGradients(const FlashCall& call, const View& out, const View& logSumExp, const View& grad, F&& f) {
  const int64_t heads = call.q.shape[0] * call.q.shape[1];
  const int64_t padded = (call.q.shape[2] + kPadding - 1) / kPadding * kPadding;
  const Scratch memory(std::max<size_t>(size_t(heads * padded) * sizeof(Statistics), 1));
  if (heads * padded > 0) summarise(out, logSumExp, grad, int(padded), memory.as<Statistics>());
  by16Bits(call.q.dtype, [&]<class T>(TypeTag<T>) {
    f(FlashGradients<T>{FlashTensors<T>(call), Heads<T>(grad), memory.as<Statistics>(), int(padded)});
  });
}

}  // namespace anneal::cuda
