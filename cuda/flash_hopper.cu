// Attention of 16-bit heads by Hopper's products of groups of warps: while one tile's weights are multiplied with
// values, the next tile's scores become weights, as in Shah et al., "FlashAttention-3" (2024).
#include "device.h"
#include "flash_panels.cuh"
#include "flash_softmax.cuh"

namespace anneal::cuda {
namespace {

constexpr int kKeys = 128;                                // of a step
constexpr int kOwn = 128, kThreads = kOwn / 64 * kGroup;  // queries of a block: a group of warps has 64

constexpr size_t memoryOf(int depth) { return size_t(kOwn + 4 * kKeys) * size_t(depth) * 2 + kSwizzleBytes; }

/// A tile of queries of one head. Keys and values of two steps lie in shared memory: those of the step in hand, and
/// those that are on their way.
template <class T, int D, bool Masked>
__global__ void __launch_bounds__(kThreads, 1) forwardGroups(FlashTensors<T> s, ResultHeads<T> out, float* logSumExp) {
#if defined(ANNEAL_WARPGROUPS)
  T* const memory = atPanels(dynamicShared<T>());
  const Panels<T, kOwn> q{memory};
  const auto keysOf = [&](int step) { return Panels<T, kKeys>{memory + (kOwn + step % 2 * kKeys) * D}; };
  const auto valuesOf = [&](int step) { return Panels<T, kKeys>{memory + (kOwn + (2 + step % 2) * kKeys) * D}; };
  const int tiles = (s.q.rows + kOwn - 1) / kOwn, index = int(blockIdx.x) / tiles;
  // With a causal mask the last tiles take longest: they come first.
  const int query = (tiles - 1 - int(blockIdx.x) % tiles) * kOwn;
  const int group = int(threadIdx.x) / kGroup * 64, own = int(threadIdx.x) / kWarp * 16;
  const int batch = index / s.q.heads, head = index % s.q.heads, pair = head / s.group;
  const Scores<Masked, T> scores{s, batch, head};
  const KeyRange range = visibleKeys<Masked>(s, batch, head, query + kOwn);
  const int first = range.begin / kKeys * kKeys, steps = std::max(0, (range.end - first + kKeys - 1) / kKeys);

  // The keys of a step, and the values of the one before.
  const auto prefetch = [&](int step) {
    if (step < steps) copyPanels<kThreads, D>(keysOf(step), s.k, s.k.at(batch, pair), first + step * kKeys);
    if (step > 0 && step <= steps)
      copyPanels<kThreads, D>(valuesOf(step - 1), s.v, s.v.at(batch, pair), first + (step - 1) * kKeys);
    commitCopies();
  };

  float sum[1][D / 8][4] = {}, w[1][kKeys / 8][4] = {}, before[2];
  uint32_t weights[1][kKeys / 16][4];
  Softmax<1> softmax;
  copyPanels<kThreads, D>(q, s.q, s.q.at(batch, head), query);
  prefetch(0);
  meetForProducts();
  if (steps > 0) {
    prefetch(1);
    settle(w);
    fenceOperands();
    multiplyPanels<T, D>(w[0], q, group, keysOf(0));
    commitProducts();
    waitProducts<0>();
    settle(w);
    scores.apply(w, LanePlace(), query + own, first);
    softmax.weigh(w, scores.factor(), [&](int, int h, float by) { before[h] = by; });
    packWeights<T>(weights, w);
#pragma unroll 1
    for (int step = 1; step < steps; ++step) {
      meetForProducts();
      prefetch(step + 1);
      settle(sum);
      settle(w);
      settle(weights);
      fenceOperands();
      multiplyPanels<T, D>(w[0], q, group, keysOf(step));
      commitProducts();
      addWeightedPanels<T>(sum[0], weights[0], valuesOf(step - 1));
      commitProducts();
      waitProducts<1>();
      settle(w);
      scores.apply(w, LanePlace(), query + own, first + step * kKeys);
      softmax.weigh(w, scores.factor(), [&](int, int h, float by) { before[h] = by; });
      settle(w);
      computeBefore(softmax.total[0][0] + softmax.total[0][1], memory);  // the weights: while sums are on their way
      waitProducts<0>();
      settle(sum);
      settle(weights);
      for (int h = 0; h < 2; ++h) rescaleRow(sum, 0, h, before[h]);
      packWeights<T>(weights, w);
    }
    meetForProducts();
    settle(sum);
    settle(weights);
    fenceOperands();
    addWeightedPanels<T>(sum[0], weights[0], valuesOf(steps - 1));
    commitProducts();
    waitProducts<0>();
    settle(sum);
  }

  float factor[1][2];
  const int64_t base = int64_t(index) * s.q.rows;
  softmax.finish(scores.factor(), factor, logSumExp + base, query + own, s.q.rows);
  // All are through with q: what lies there now is each warp's own.
  storeRows(SharedRows<T, D>{memory + own * D}, sum, factor, out.at(batch, head), out.row, query + own, s.q.rows,
            s.v.columns);
#endif
}

}  // namespace

void flashByGroups(const FlashCall& call, const View& out, const View& logSumExp) {
  by16Bits(call.q.dtype, [&]<class T>(TypeTag<T>) {
    const FlashTensors<T> s(call);
    byDepth(s, [&]<int D, bool Masked>(std::integral_constant<int, D>, std::bool_constant<Masked>) {
      launch(forwardGroups<T, D, Masked>, unsigned(call.q.shape[0] * s.q.heads) * blocksFor(s.q.rows, kOwn), kThreads,
             memoryOf(D), stream(), s, ResultHeads<T>(out), logSumExp.as<float>());
    });
  });
}

}  // namespace anneal::cuda
