// The gradients of attention of 16-bit heads on tensor cores, by warps.
#include "flash_gradients.cuh"

namespace anneal::cuda {
namespace {

constexpr int kStep = 32;  // rows of the other side that are worked on at once
constexpr int kRowLanes = 8;

/// 8 lanes for each query. Beyond the last, weights are to be 0.
template <class T>
__global__ void __launch_bounds__(kFlashThreads)
    summariseRows(Heads<T> out, Heads<T> grad, const float* logSumExp, int padded, int64_t heads, Statistics* to) {
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
  const QuerySteps<kStep> all(std::bool_constant<Masked>{}, s, batch, key, kOwn);
  const LanePlace place;

  const auto prefetch = [&](int step) {
    if (step < all.steps) {
      const int head = pair * s.group + all.headOf(step), query = all.queryOf(step);
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
  for (int step = 0; step < all.steps; ++step) {
    waitCopies<0>();
    __syncthreads();  // this step's rows are there; all are through with those of the step before
    prefetch(step + 1);
    const Scores<Masked, T> scores{s, batch, pair * s.group + all.headOf(step)};
    const SharedRows<T, D> q{stages + step % 2 * kStage}, grad{q.data + kStep * D};
    const Statistics* const of = statistics + step % 2 * kStep;
    float w[M][kStep / 8][4], change[M][kStep / 8][4];
    uint32_t packed[M][kStep / 16][4];
    multiplyRows<T>(w, k.from(own), q);
    scores.applyTurned(w, place, all.queryOf(step), key + own);
    weighColumns(w, place, of, scores.factor());
    uint64_t kept = 0;
    if (Masked && s.dropout) {
      kept = keptWeights<true, M, kStep / 8>(s, place, batch, scores.head, all.queryOf(step), key + own);
      keepWeights(change, w, kept, s.dropout.scale);
      packWeights<T>(packed, change);
    } else {
      packWeights<T>(packed, w);
    }
    addWeighted<T>(toValues, packed, grad);
    multiplyRows<T>(change, v.from(own), grad);
    if (Masked && s.dropout) keepWeights(change, change, kept, s.dropout.scale);
    changeColumns(w, change, place, of);
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
    if (Masked && s.dropout)
      keepWeights(change, change, keptWeights<false, M, kStep / 8>(s, place, batch, head, query + own, key),
                  s.dropout.scale);
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

void summarise(const View& out, const View& logSumExp, const View& grad, int padded, Statistics* to) {
  const int64_t heads = grad.shape[0] * grad.shape[1];
  by16Bits(grad.dtype, [&]<class T>(TypeTag<T>) {
    launch(summariseRows<T>, blocksFor(heads * padded * kRowLanes, kFlashThreads), kFlashThreads, 0, stream(),
           Heads<T>(out), Heads<T>(grad), logSumExp.as<float>(), padded, heads, to);
  });
}

void flashGradByWarps(const FlashCall& call, const View& out, const View& logSumExp, const View& grad, const View& dq,
                      const View& dk, const View& dv) {
  const unsigned batch = unsigned(call.q.shape[0]);
  withGradients(call, out, logSumExp, grad, [&]<class T>(const FlashGradients<T>& s) {
    byDepth(s, [&]<int D, bool Masked>(std::integral_constant<int, D>, std::bool_constant<Masked>) {
      constexpr int kKeyTiles = D == 64 && !Masked ? 2 : 1,
                    kQueryTiles = D == 64 ? 2 : 1;  // as many as registers allow
      if (dk.size() > 0 || dv.size() > 0)
        launch(keysTile<T, D, kKeyTiles, Masked>, batch * unsigned(s.k.heads) * blocksFor(s.k.rows, ownRows(kKeyTiles)),
               kFlashThreads, memoryOf(kKeyTiles, D), stream(), s, ResultHeads<T>(dk), ResultHeads<T>(dv));
      if (dq.size() > 0)
        launch(queriesTile<T, D, kQueryTiles, Masked>,
               batch * unsigned(s.q.heads) * blocksFor(s.q.rows, ownRows(kQueryTiles)), kFlashThreads,
               memoryOf(kQueryTiles, D), stream(), s, ResultHeads<T>(dq));
    });
  });
}

}  // namespace anneal::cuda
