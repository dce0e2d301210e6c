// The gradients of attention of 16-bit heads on tensor cores: Dao et al., "FlashAttention" (2022), but with one kernel
// for the keys' side and one for the queries', so that sums have one order and need no atomics.
#include "device.h"
#include "flash.cuh"

namespace anneal::cuda {
namespace {

constexpr int kStep = 32;     // rows of the other side that are worked on at once
constexpr int kPadding = 64;  // the statistics of a head's queries are padded to multiples of this

/// Of a query: the log-sum-exp of its scores to base 2, and the gradient of its result times the result.
struct alignas(8) Statistics {
  float logSumExp, mean;
};

template <class T>
struct FlashGradients : FlashTensors<T> {
  Heads<T> grad;  // of the result
  const Statistics* statistics = nullptr;
  int padded = 0;  // of each head

  __device__ __forceinline__ const Statistics* statisticsOf(int batch, int head) const {
    return statistics + (int64_t(batch) * this->q.heads + head) * padded;
  }
};

constexpr int kRowLanes = 8;

/// 8 lanes for each query. Beyond the last, weights are to be 0.
template <class T>
__global__ void __launch_bounds__(kFlashThreads)
    summarise(Heads<T> out, Heads<T> grad, const float* logSumExp, int padded, int64_t heads, Statistics* to) {
  const int64_t at = threadNumber() / kRowLanes, head = at / padded;
  const int row = int(at % padded);
  const bool inside = head < heads && row < grad.rows;
  const int64_t from = head * grad.rows + row;
  float sum = 0;
  if (inside) {
    const int batch = int(head / grad.heads), own = int(head % grad.heads);
    const T *const gradRow = grad.at(batch, own) + row * grad.row, *const outRow = out.at(batch, own) + row * out.row;
    for (int i = int(threadIdx.x) % kRowLanes * 8; i < grad.columns; i += kRowLanes * 8) {
      const auto a = *reinterpret_cast<const Pack<T, 8>*>(outRow + i),
                 b = *reinterpret_cast<const Pack<T, 8>*>(gradRow + i);
#pragma unroll
      for (int j = 0; j < 8; ++j) sum += toFloat(a.v[j]) * toFloat(b.v[j]);
    }
  }
#pragma unroll
  for (int bits = kRowLanes / 2; bits > 0; bits /= 2) sum += __shfl_xor_sync(kAllLanes, sum, bits);
  if (head < heads && threadIdx.x % kRowLanes == 0)
    to[at] = inside ? Statistics{logSumExp[from] * kLog2OfE, sum} : Statistics{INFINITY, 0};
}

using StatisticsPair = Pack<Statistics, 2>;
/// Those of the two queries whose columns a lane holds in products 8 n and on.
__device__ __forceinline__ StatisticsPair pairAt(const Statistics* of, const LanePlace& place, int n) {
  return *reinterpret_cast<const StatisticsPair*>(of + place.columnOf(n, 0));
}

/// The gradients of a tile of keys and values, whose rows are those of the products: a lane holds parts of keys' rows,
/// and queries are columns.
template <class T, int D, int M, bool Masked>
__global__ void __launch_bounds__(kFlashThreads, 2)
    keysTile(FlashGradients<T> s, ResultHeads<T> dk, ResultHeads<T> dv) {
  constexpr int kOwn = kFlashWarps * 16 * M, kStage = 2 * kStep * D;
  T* const memory = dynamicShared<T>();
  const SharedRows<T, D> k{memory}, v{memory + kOwn * D};
  T* const stages = memory + 2 * kOwn * D;
  auto* const statistics = reinterpret_cast<Statistics*>(stages + 2 * kStage);
  const int tiles = (s.k.rows + kOwn - 1) / kOwn, index = int(blockIdx.x) / tiles;
  const int key = int(blockIdx.x) % tiles * kOwn, own = int(threadIdx.x) / kWarp * 16 * M;
  const int batch = index / s.k.heads, pair = index % s.k.heads;
  const int first = s.mask.causal ? key : 0;                                  // the first query, a multiple of kStep
  int steps = first < s.q.rows ? (s.q.rows - first + kStep - 1) / kStep : 0;  // for each head
  const int each = std::max(steps, 1);
  steps *= s.group;
  if (Masked && s.mask.stride[1] == 0) {
    const KeyRange range = visibleKeys<Masked>(s, batch, 0, s.q.rows);
    if (range.end <= key || range.begin >= key + kOwn) steps = 0;
  }
  const LanePlace place;

  const auto prefetch = [&](int step) {
    if (step < steps) {
      const int head = pair * s.group + step / each, query = first + step % each * kStep;
      T* const to = stages + step % 2 * kStage;
      copyRows<kStep>(SharedRows<T, D>{to}, s.q, s.q.at(batch, head), query);
      copyRows<kStep>(SharedRows<T, D>{to + kStep * D}, s.grad, s.grad.at(batch, head), query);
      if (int(threadIdx.x) < kStep / 2)
        copyAsync(statistics + step % 2 * kStep + 2 * threadIdx.x,
                  s.statisticsOf(batch, head) + query + 2 * threadIdx.x, true);
    }
    commitCopies();
  };

  float toKeys[M][D / 8][4] = {}, toValues[M][D / 8][4] = {};
  copyRows<kOwn>(k, s.k, s.k.at(batch, pair), key);
  copyRows<kOwn>(v, s.v, s.v.at(batch, pair), key);
  prefetch(0);
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    waitCopies<0>();
    __syncthreads();  // this step's rows are there; all are through with those of the step before
    prefetch(step + 1);
    const int query = first + step % each * kStep;
    const Scores<Masked, T> scores{s, batch, pair * s.group + step / each};
    const SharedRows<T, D> q{stages + step % 2 * kStage}, grad{q.data + kStep * D};
    const Statistics* const of = statistics + step % 2 * kStep;
    float w[M][kStep / 8][4], change[M][kStep / 8][4];
    uint32_t packed[M][kStep / 16][4];
    multiplyRows<T>(w, k.from(own), q);
    if (Masked || (s.mask.causal && query < key + own + 16 * M)) {
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int n = 0; n < kStep / 8; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i)
            w[m][n][i] = scores.of(w[m][n][i], query + place.columnOf(n, i), key + own + place.rowOf(m, i));
    }
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int n = 0; n < kStep / 8; ++n) {
        const StatisticsPair pair = pairAt(of, place, n);
#pragma unroll
        for (int i = 0; i < 4; ++i) w[m][n][i] = exp2Fast(w[m][n][i] * scores.factor() - pair.v[i % 2].logSumExp);
      }
    packWeights<T>(packed, w);
    addWeighted<T>(toValues, packed, grad);
    multiplyRows<T>(change, v.from(own), grad);
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int n = 0; n < kStep / 8; ++n) {
        const StatisticsPair pair = pairAt(of, place, n);
#pragma unroll
        for (int i = 0; i < 4; ++i) w[m][n][i] *= change[m][n][i] - pair.v[i % 2].mean;
      }
    packWeights<T>(packed, w);
    addWeighted<T>(toKeys, packed, q);
  }
  waitCopies<0>();
  __syncthreads();
  float scale[M][2], one[M][2];
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) scale[m][h] = s.scale, one[m][h] = 1;
  storeRows(k.from(own), toKeys, scale, dk.at(batch, pair), dk.row, key + own, s.k.rows, s.k.columns);
  storeRows(v.from(own), toValues, one, dv.at(batch, pair), dv.row, key + own, s.k.rows, s.v.columns);
}

/// The gradient of a tile of queries.
template <class T, int D, int M, bool Masked>
__global__ void __launch_bounds__(kFlashThreads, 2) queriesTile(FlashGradients<T> s, ResultHeads<T> dq) {
  constexpr int kOwn = kFlashWarps * 16 * M, kStage = 2 * kStep * D;
  T* const memory = dynamicShared<T>();
  const SharedRows<T, D> q{memory}, grad{memory + kOwn * D};
  T* const stages = memory + 2 * kOwn * D;
  auto* const of = reinterpret_cast<Statistics*>(stages + 2 * kStage);
  const int tiles = (s.q.rows + kOwn - 1) / kOwn, index = int(blockIdx.x) / tiles;
  const int query = (tiles - 1 - int(blockIdx.x) % tiles) * kOwn, own = int(threadIdx.x) / kWarp * 16 * M;
  const int batch = index / s.q.heads, head = index % s.q.heads, pair = head / s.group;
  const Scores<Masked, T> scores{s, batch, head};
  const KeyRange range = visibleKeys<Masked>(s, batch, head, query + kOwn);
  const int first = range.begin / kStep * kStep, steps = std::max(0, (range.end - first + kStep - 1) / kStep);
  const LanePlace place;

  const auto prefetch = [&](int step) {
    if (step < steps) {
      T* const to = stages + step % 2 * kStage;
      copyRows<kStep>(SharedRows<T, D>{to}, s.k, s.k.at(batch, pair), first + step * kStep);
      copyRows<kStep>(SharedRows<T, D>{to + kStep * D}, s.v, s.v.at(batch, pair), first + step * kStep);
    }
    commitCopies();
  };

  float sum[M][D / 8][4] = {};
  copyRows<kOwn>(q, s.q, s.q.at(batch, head), query);
  copyRows<kOwn>(grad, s.grad, s.grad.at(batch, head), query);
  prefetch(0);
  for (int row = int(threadIdx.x); row < kOwn; row += kFlashThreads)
    of[row] = query + row < s.q.rows ? s.statisticsOf(batch, head)[query + row] : Statistics{INFINITY, 0};
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    waitCopies<0>();
    __syncthreads();  // this step's rows are there; all are through with those of the step before
    prefetch(step + 1);
    const int key = first + step * kStep;
    const SharedRows<T, D> k{stages + step % 2 * kStage}, v{k.data + kStep * D};
    float w[M][kStep / 8][4], change[M][kStep / 8][4];
    uint32_t packed[M][kStep / 16][4];
    multiplyRows<T>(w, q.from(own), k);
    multiplyRows<T>(change, grad.from(own), v);
    scores.apply(w, place, query + own, key);
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const Statistics row = of[own + place.rowOf(m, 2 * h)];
#pragma unroll
        for (int n = 0; n < kStep / 8; ++n)
#pragma unroll
          for (int i = 2 * h; i < 2 * h + 2; ++i)
            w[m][n][i] = exp2Fast(w[m][n][i] * scores.factor() - row.logSumExp) * (change[m][n][i] - row.mean);
      }
    packWeights<T>(packed, w);
    addWeighted<T>(sum, packed, k);
  }
  waitCopies<0>();
  __syncthreads();
  float scale[M][2];
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) scale[m][h] = s.scale;
  storeRows(q.from(own), sum, scale, dq.at(batch, head), dq.row, query + own, s.q.rows, s.q.columns);
}

constexpr int ownRows(int m) { return kFlashWarps * 16 * m; }
constexpr size_t memoryOf(int m, int depth) {
  return size_t(2 * ownRows(m) + 4 * kStep) * size_t(depth) * 2 +
         size_t(std::max(2 * kStep, ownRows(m))) * sizeof(Statistics);
}

}  // namespace

void flashGradOnTensorCores(const FlashCall& call, const View& out, const View& logSumExp, const View& grad,
                            const View& dq, const View& dk, const View& dv) {
  const int64_t heads = call.q.shape[0] * call.q.shape[1], rows = call.q.shape[2];
  const int64_t padded = (rows + kPadding - 1) / kPadding * kPadding;
  const Scratch memory(std::max<size_t>(size_t(heads * padded) * sizeof(Statistics), 1));
  by16Bits(call.q.dtype, [&]<class T>(TypeTag<T>) {
    FlashGradients<T> s{FlashTensors<T>(call), Heads<T>(grad), memory.as<Statistics>(), int(padded)};
    if (heads * padded > 0)
      launch(summarise<T>, blocksFor(heads * padded * kRowLanes, kFlashThreads), kFlashThreads, 0, stream(),
             Heads<T>(out), s.grad, logSumExp.as<float>(), int(padded), heads, memory.as<Statistics>());
    byDepth(s, [&]<int D, bool Masked>(std::integral_constant<int, D>, std::bool_constant<Masked>) {
      constexpr int kKeyTiles = D == 64 && !Masked ? 2 : 1,
                    kQueryTiles = D == 64 ? 2 : 1;  // as many as registers allow
      if (dk.size() > 0 || dv.size() > 0)
        launch(keysTile<T, D, kKeyTiles, Masked>,
               unsigned(call.k.shape[0] * s.k.heads) * blocksFor(s.k.rows, ownRows(kKeyTiles)), kFlashThreads,
               memoryOf(kKeyTiles, D), stream(), s, ResultHeads<T>(dk), ResultHeads<T>(dv));
      if (dq.size() > 0)
        launch(queriesTile<T, D, kQueryTiles, Masked>, unsigned(heads) * blocksFor(rows, ownRows(kQueryTiles)),
               kFlashThreads, memoryOf(kQueryTiles, D), stream(), s, ResultHeads<T>(dq));
    });
  });
}

}  // namespace anneal::cuda
