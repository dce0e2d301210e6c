// The gradients of attention of 16-bit heads by Hopper's products of groups of warps.
#include "flash_gradients.cuh"
#include "flash_panels.cuh"

namespace anneal::cuda {
namespace {

constexpr int kStep = 64;                                 // rows of the other side that are worked on at once
constexpr int kOwn = 128, kThreads = kOwn / 64 * kGroup;  // a group of warps has 64 rows

constexpr size_t memoryOf(int depth) {
  return size_t(2 * kOwn + 4 * kStep) * size_t(depth) * 2 + 2 * kStep * sizeof(Statistics) + kSwizzleBytes;
}

/// Starts the two products of rows of a block's own side with those of a step: the first is there after
/// waitProducts<1>.
template <class T, int D>
__device__ __forceinline__ void startScores(float (&w)[1][kStep / 8][4], float (&change)[1][kStep / 8][4],
                                            const Panels<T, kOwn>& a, const Panels<T, kOwn>& b, int row,
                                            const Panels<T, kStep>& c, const Panels<T, kStep>& d) {
  settle(w);
  settle(change);
  fenceOperands();
  multiplyPanels<T, D>(w[0], a, row, c);
  commitProducts();
  multiplyPanels<T, D>(change[0], b, row, d);
  commitProducts();
}

/// Starts sum += weights times the rows of a step.
template <class T, int N>
__device__ __forceinline__ void startSum(float (&sum)[1][N][4], uint32_t (&weights)[1][kStep / 16][4],
                                         const Panels<T, kStep>& rows) {
  settle(sum);
  settle(weights);
  fenceOperands();
  addWeightedPanels<T>(sum[0], weights[0], rows);
  commitProducts();
}

/// The same for a lane's two rows, which are queries: scores become weights, and weights the gradients of scores.
template <int N>
__device__ __forceinline__ void weighRows(float (&w)[1][N][4], const Statistics (&of)[2], float factor) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) w[0][n][i] = exp2Fast(w[0][n][i] * factor - of[i / 2].logSumExp);
}
template <int N>
__device__ __forceinline__ void changeRows(float (&w)[1][N][4], const float (&change)[1][N][4],
                                           const Statistics (&of)[2]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) w[0][n][i] *= change[0][n][i] - of[i / 2].mean;
}

/// Of some of the weights: see computeBefore.
template <int N>
__device__ __forceinline__ float someOf(const float (&w)[1][N][4]) {
  float sum = 0;
#pragma unroll
  for (int n = 0; n < N; ++n) sum += w[0][n][n % 4];
  return sum;
}

/// The gradients of a tile of keys and values, whose rows are those of the products; queries are columns.
template <class T, int D, bool Masked>
__global__ void __launch_bounds__(kThreads, 1) keysGroups(FlashGradients<T> s, ResultHeads<T> dk, ResultHeads<T> dv) {
#if defined(ANNEAL_WARPGROUPS)
  constexpr int kStage = 2 * kStep * D;
  T* const memory = atPanels(dynamicShared<T>());
  const Panels<T, kOwn> k{memory}, v{memory + kOwn * D};
  T* const stages = memory + 2 * kOwn * D;
  auto* const statistics = reinterpret_cast<Statistics*>(stages + 2 * kStage);
  const auto queriesOf = [&](int step) { return Panels<T, kStep>{stages + step % 2 * kStage}; };
  const auto gradOf = [&](int step) { return Panels<T, kStep>{stages + step % 2 * kStage + kStep * D}; };
  const int tiles = (s.k.rows + kOwn - 1) / kOwn, index = int(blockIdx.x) / tiles;
  const int key = int(blockIdx.x) % tiles * kOwn;
  const int group = int(threadIdx.x) / kGroup * 64, own = int(threadIdx.x) / kWarp * 16;
  const int batch = index / s.k.heads, pair = index % s.k.heads;
  const QuerySteps<kStep> all(std::bool_constant<Masked>{}, s, batch, key, kOwn);
  const LanePlace place;

  const auto prefetch = [&](int step) {
    if (step < all.steps) {
      const int head = pair * s.group + all.headOf(step), query = all.queryOf(step);
      copyPanels<kThreads, D>(queriesOf(step), s.q, s.q.at(batch, head), query);
      copyPanels<kThreads, D>(gradOf(step), s.grad, s.grad.at(batch, head), query);
      if (int(threadIdx.x) < kStep / 2)
        copyAsync(statistics + step % 2 * kStep + 2 * threadIdx.x,
                  s.statisticsOf(batch, head) + query + 2 * threadIdx.x, true);
    }
    commitCopies();
  };

  float toKeys[1][D / 8][4] = {}, toValues[1][D / 8][4] = {};
  float w[1][kStep / 8][4] = {}, change[1][kStep / 8][4] = {};
  uint32_t weights[1][kStep / 16][4], changes[1][kStep / 16][4];
  copyPanels<kThreads, D>(k, s.k, s.k.at(batch, pair), key);
  copyPanels<kThreads, D>(v, s.v, s.v.at(batch, pair), key);
  prefetch(0);
#pragma unroll 1
  for (int step = 0; step < all.steps; ++step) {
    meetForProducts();
    prefetch(step + 1);
    const Scores<Masked, T> scores{s, batch, pair * s.group + all.headOf(step)};
    const Statistics* const of = statistics + step % 2 * kStep;
    startScores<T, D>(w, change, k, v, group, queriesOf(step), gradOf(step));
    waitProducts<1>();
    settle(w);
    scores.applyTurned(w, place, all.queryOf(step), key + own);
    weighColumns(w, place, of, scores.factor());
    packWeights<T>(weights, w);
    settle(weights);
    computeBefore(someOf(w), memory);
    waitProducts<0>();
    settle(change);
    startSum<T>(toValues, weights, gradOf(step));
    changeColumns(w, change, place, of);
    packWeights<T>(changes, w);
    startSum<T>(toKeys, changes, queriesOf(step));
    waitProducts<0>();
    settle(toValues);
    settle(toKeys);
  }
  meetForProducts();
  float scale[1][2] = {{s.scale, s.scale}}, one[1][2] = {{1, 1}};
  storeRows(SharedRows<T, D>{k.data + own * D}, toKeys, scale, dk.at(batch, pair), dk.row, key + own, s.k.rows,
            s.k.columns);
  storeRows(SharedRows<T, D>{v.data + own * D}, toValues, one, dv.at(batch, pair), dv.row, key + own, s.k.rows,
            s.v.columns);
#endif
}

/// The gradient of a tile of queries.
template <class T, int D, bool Masked>
__global__ void __launch_bounds__(kThreads, 1) queriesGroups(FlashGradients<T> s, ResultHeads<T> dq) {
#if defined(ANNEAL_WARPGROUPS)
  constexpr int kStage = 2 * kStep * D;
  T* const memory = atPanels(dynamicShared<T>());
  const Panels<T, kOwn> q{memory}, grad{memory + kOwn * D};
  T* const stages = memory + 2 * kOwn * D;
  const auto keysOf = [&](int step) { return Panels<T, kStep>{stages + step % 2 * kStage}; };
  const auto valuesOf = [&](int step) { return Panels<T, kStep>{stages + step % 2 * kStage + kStep * D}; };
  const int tiles = (s.q.rows + kOwn - 1) / kOwn, index = int(blockIdx.x) / tiles;
  const int query = (tiles - 1 - int(blockIdx.x) % tiles) * kOwn;
  const int group = int(threadIdx.x) / kGroup * 64, own = int(threadIdx.x) / kWarp * 16;
  const int batch = index / s.q.heads, head = index % s.q.heads, pair = head / s.group;
  const Scores<Masked, T> scores{s, batch, head};
  const KeyRange range = visibleKeys<Masked>(s, batch, head, query + kOwn);
  const int first = range.begin / kStep * kStep, steps = std::max(0, (range.end - first + kStep - 1) / kStep);

  const auto prefetch = [&](int step) {
    if (step < steps) {
      copyPanels<kThreads, D>(keysOf(step), s.k, s.k.at(batch, pair), first + step * kStep);
      copyPanels<kThreads, D>(valuesOf(step), s.v, s.v.at(batch, pair), first + step * kStep);
    }
    commitCopies();
  };

  float sum[1][D / 8][4] = {}, w[1][kStep / 8][4] = {}, change[1][kStep / 8][4] = {};
  uint32_t changes[1][kStep / 16][4];
  copyPanels<kThreads, D>(q, s.q, s.q.at(batch, head), query);
  copyPanels<kThreads, D>(grad, s.grad, s.grad.at(batch, head), query);
  prefetch(0);
  Statistics rows[2];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int row = query + own + LanePlace().rowOf(0, 2 * h);
    rows[h] = row < s.q.rows ? s.statisticsOf(batch, head)[row] : Statistics{INFINITY, 0};
  }
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    meetForProducts();
    prefetch(step + 1);
    startScores<T, D>(w, change, q, grad, group, keysOf(step), valuesOf(step));
    waitProducts<1>();
    settle(w);
    scores.apply(w, LanePlace(), query + own, first + step * kStep);
    weighRows(w, rows, scores.factor());
    settle(w);
    computeBefore(someOf(w), memory);
    waitProducts<0>();
    settle(change);
    changeRows(w, change, rows);
    packWeights<T>(changes, w);
    startSum<T>(sum, changes, keysOf(step));
    waitProducts<0>();
    settle(sum);
  }
  meetForProducts();
  float scale[1][2] = {{s.scale, s.scale}};
  storeRows(SharedRows<T, D>{memory + own * D}, sum, scale, dq.at(batch, head), dq.row, query + own, s.q.rows,
            s.q.columns);
#endif
}

}  // namespace

void flashGradByGroups(const FlashCall& call, const View& out, const View& logSumExp, const View& grad, const View& dq,
                       const View& dk, const View& dv) {
  withGradients(call, out, logSumExp, grad, [&]<class T>(const FlashGradients<T>& s) {
    byDepth(s, [&]<int D, bool Masked>(std::integral_constant<int, D>, std::bool_constant<Masked>) {
      const unsigned batch = unsigned(call.q.shape[0]);
      if (dk.size() > 0 || dv.size() > 0)
        launch(keysGroups<T, D, Masked>, batch * unsigned(s.k.heads) * blocksFor(s.k.rows, kOwn), kThreads, memoryOf(D),
               stream(), s, ResultHeads<T>(dk), ResultHeads<T>(dv));
      if (dq.size() > 0)
        launch(queriesGroups<T, D, Masked>, batch * unsigned(s.q.heads) * blocksFor(s.q.rows, kOwn), kThreads,
               memoryOf(D), stream(), s, ResultHeads<T>(dq));
    });
  });
}

}  // namespace anneal::cuda
