#pragma once
// Totals of rows without gaps, in an order that depends on their sizes alone: kernels that reduce what lies in memory
// and those that compute it just before (generate.cu) give the same bits.
#include "elements.h"
#include "warp.h"

namespace anneal::cuda {

constexpr int kReduceThreads = 256;
constexpr int kTogether = 4;      // neighbours that a thread takes at a time
constexpr int kRunsAtOnce = 4;    // of such neighbours, whose loads are under way together
constexpr int kMostOfWarp = 512;  // elements of a result: more are a block's

/// How the elements of results are shared: each result has `count`, in `pieces` of `piece` elements, and each piece a
/// group of 2^bits threads, a block or a part of a warp.
struct Shares {
  int64_t results = 1, count = 1, pieces = 1, piece = 1;
  int bits = 0;
  bool block() const { return 1 << bits == kReduceThreads; }
  /// Of kReduceThreads.
  unsigned blocks() const { return unsigned(((results * pieces << bits) + kReduceThreads - 1) / kReduceThreads); }
};

/// What the group of a thread has to do; nothing where there are more groups than pieces.
struct Share {
  int64_t result = 0, part = 0, begin = 0, end = 0;
  int member = 0, members = 1;
  bool first = false;  // whether the thread is the one of its group that delivers

  __device__ explicit Share(const Shares& s) : member(int(threadIdx.x) & ((1 << s.bits) - 1)), members(1 << s.bits) {
    const int64_t group = threadNumber() >> s.bits;
    result = s.pieces == 1 ? group : group / s.pieces;
    part = group - result * s.pieces;
    if (result >= s.results) {
      result = 0;
      return;
    }
    begin = part * s.piece;
    end = begin + s.piece < s.count ? begin + s.piece : s.count;
    first = member == 0;
  }
};

template <class R>
struct Merge {
  R reducer;
  __device__ typename R::State operator()(typename R::State a, typename R::State b) const {
    return reducer.merge(a, b);
  }
};

/// What the members of a group have found, in all of them: those of a block, or of a part of a warp. All threads of the
/// block take part.
template <bool Block, class R>
__device__ __forceinline__ typename R::State mergeGroup(const R& reducer, typename R::State state, int members) {
  if constexpr (Block) {
    __shared__ typename R::State shared[kWarp];
    return mergeBlock(state, shared, Merge<R>{reducer});
  } else {
    for (int bits = members / 2; bits > 0; bits /= 2) state = reducer.merge(state, shuffleXor(state, bits));
    return state;
  }
}

/// What a thread's part of a share of a row comes to. `visit(i, n, take)` is to call take(k, x) for the elements i + k,
/// 0 <= k < n; it is asked for `AtOnce` runs of kTogether one after the other, so that their loads are under way
/// together.
template <int AtOnce, class R, class F>
__device__ __forceinline__ typename R::State partOf(const R& reducer, const Share& share, F&& visit) {
  // Neighbours go different ways, so that none waits for the one before.
  typename R::State states[kTogether];
#pragma unroll
  for (int k = 0; k < kTogether; ++k) states[k] = reducer.none();
  const auto take = [&](int64_t i, int n) { visit(i, n, [&](int k, auto x) { reducer.take(states[k], x, i + k); }); };
  const int64_t step = int64_t(share.members) * kTogether;
  int64_t i = share.begin + int64_t(share.member) * kTogether;
#pragma unroll 1
  for (; i + (AtOnce - 1) * step + kTogether <= share.end; i += AtOnce * step) {
#pragma unroll
    for (int k = 0; k < AtOnce; ++k) take(i + k * step, kTogether);
  }
#pragma unroll 1
  for (; i < share.end; i += step) take(i, share.end - i < kTogether ? int(share.end - i) : kTogether);
  return reducer.merge(reducer.merge(states[0], states[1]), reducer.merge(states[2], states[3]));
}

}  // namespace anneal::cuda
