// Attention of 16-bit heads on tensor cores, after Dao, "FlashAttention-2" (2023).
#include "device.h"
#include "flash_softmax.cuh"

namespace anneal::cuda {
namespace {

// What fits into registers, beside the sums: 16 M queries of a warp, and the keys of a step.
constexpr int tilesOfWarp(int depth, bool masked) { return depth == 64 || !masked ? 2 : 1; }
constexpr int keysOfStep(int depth) { return depth == 64 ? 64 : 32; }
constexpr int queriesOfBlock(int depth, bool masked) { return kFlashWarps * 16 * tilesOfWarp(depth, masked); }

/// A tile of queries of one head.
template <class T, int D, bool Masked>
__global__ void __launch_bounds__(kFlashThreads, 2)
    forwardTile(FlashTensors<T> s, ResultHeads<T> out, float* logSumExp) {
  constexpr int M = tilesOfWarp(D, Masked), kKeys = keysOfStep(D), kOwn = queriesOfBlock(D, Masked);
  T* const memory = dynamicShared<T>();
  const SharedRows<T, D> q{memory}, k{memory + kOwn * D}, v{memory + (kOwn + kKeys) * D};
  const int tiles = (s.q.rows + kOwn - 1) / kOwn, index = int(blockIdx.x) / tiles;
  // With a causal mask the last tiles take longest: they come first.
  const int query = (tiles - 1 - int(blockIdx.x) % tiles) * kOwn, own = int(threadIdx.x) / kWarp * 16 * M;
  const int batch = index / s.q.heads, head = index % s.q.heads, pair = head / s.group;
  const Scores<Masked, T> scores{s, batch, head};
  const KeyRange range = visibleKeys<Masked>(s, batch, head, query + kOwn);
  const int first = range.begin / kKeys * kKeys;
  const T *keys = s.k.at(batch, pair), *values = s.v.at(batch, pair);
  const LanePlace place;

  float sum[M][D / 8][4] = {};
  Softmax<M> softmax;

  copyRows<kOwn>(q, s.q, s.q.at(batch, head), query);
  if (first < range.end) copyRows<kKeys>(k, s.k, keys, first);
  commitCopies();
#pragma unroll 1
  for (int key = first; key < range.end; key += kKeys) {
    waitCopies<0>();
    __syncthreads();  // the keys are there; all are through with the last values
    copyRows<kKeys>(v, s.v, values, key);
    commitCopies();
    float w[M][kKeys / 8][4];
    multiplyRows<T>(w, q.from(own), k);
    waitCopies<0>();
    __syncthreads();  // the values are there; all are through with the keys
    if (key + kKeys < range.end) copyRows<kKeys>(k, s.k, keys, key + kKeys);
    commitCopies();
    scores.apply(w, place, query + own, key);
    softmax.weigh(w, scores.factor(), [&](int m, int h, float before) { rescaleRow(sum, m, h, before); });
    if (Masked && s.dropout)
      keepWeights(w, w, keptWeights<false, M, kKeys / 8>(s, place, batch, head, query + own, key), s.dropout.scale);
    uint32_t weights[M][kKeys / 16][4];
    packWeights<T>(weights, w);
    addWeighted<T>(sum, weights, v);
  }
  waitCopies<0>();
  __syncthreads();  // also where there was no key, and q may still be on its way

  float factor[M][2];
  const int64_t base = int64_t(index) * s.q.rows;
  softmax.finish(scores.factor(), factor, logSumExp + base, query + own, s.q.rows);
  // Where the result goes is computed again: there are no registers to keep it in meanwhile.
  const int from = anew(int(blockIdx.x)) / tiles;
  storeRows(q.from(own), sum, factor, out.at(from / s.q.heads, from % s.q.heads), out.row, query + own, s.q.rows,
            s.v.columns);
}

bool inSixteens(const View& v) {
  bool whole = v.memory && aligned(v.data()) && v.shape[3] % 8 == 0 && (v.strides[3] == 1 || v.shape[3] == 1);
  for (int i = 0; i < 3; ++i) whole &= v.shape[i] == 1 || v.strides[i] % 8 == 0;
  return whole;
}

}  // namespace

bool tensorCoresTake(const View& q, const View& k, const View& v) {
  return itemSize(q.dtype) == 2 && std::max(q.shape[3], v.shape[3]) <= 128 && inSixteens(q) && inSixteens(k) &&
         inSixteens(v);
}

void flashByWarps(const FlashCall& call, const View& out, const View& logSumExp) {
  by16Bits(call.q.dtype, [&]<class T>(TypeTag<T>) {
    const FlashTensors<T> s(call);
    byDepth(s, [&]<int D, bool Masked>(std::integral_constant<int, D>, std::bool_constant<Masked>) {
      constexpr int kOwn = queriesOfBlock(D, Masked);
      launch(forwardTile<T, D, Masked>, unsigned(call.q.shape[0] * s.q.heads) * blocksFor(s.q.rows, kOwn),
             kFlashThreads, size_t(kOwn + 2 * keysOfStep(D)) * D * sizeof(T), stream(), s, ResultHeads<T>(out),
             logSumExp.as<float>());
    });
  });
}

}  // namespace anneal::cuda
