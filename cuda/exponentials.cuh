#pragma once
// Sums of exponentials that do not overflow.
#include <cmath>
#include <limits>

#include "rows.cuh"

namespace anneal::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int kLoopedBlocks = 1;
#else
constexpr int kLoopedBlocks = 0;
#endif
/// Blocks of kRowThreads that a multiprocessor is to hold at least, P packs of a row in a thread: exponentials of
/// doubles, and on Blackwell rows that are looped over, take more registers than the compiler allows of itself, and
/// then some are spilt.
template <class T, int P>
constexpr int kLeastBlocks = std::is_same_v<T, double> ? 1 : (P == 0 ? kLoopedBlocks : 0);

/// The largest so far, and the sum of exponentials relative to it.
template <class C>
struct Exponentials {
  C top, sum;
  static __device__ Exponentials none() { return {-std::numeric_limits<C>::infinity(), 0}; }
  /// What exponentials are relative to: nothing is relative to -infinity.
  static __device__ C base(C top) { return top == -std::numeric_limits<C>::infinity() ? C(0) : top; }
};

template <class T>
struct MergeExponentials {
  using C = Computed<T>;
  __device__ Exponentials<C> operator()(Exponentials<C> a, Exponentials<C> b) const {
    const C top = a.top > b.top ? a.top : b.top, base = Exponentials<C>::base(top);
    return {top, a.sum * exponential<T>(a.top - base) + b.sum * exponential<T>(b.top - base)};
  }
};

/// Takes N more values.
template <class T, int N>
__device__ __forceinline__ void take(Exponentials<Computed<T>>& s, const Computed<T> (&x)[N]) {
  using C = Computed<T>;
  C top = s.top;
#pragma unroll
  for (int i = 0; i < N; ++i) top = x[i] > top ? x[i] : top;
  const C base = Exponentials<C>::base(top);
  if (top > s.top) s.sum *= exponential<T>(s.top - base);
#pragma unroll
  for (int i = 0; i < N; ++i) s.sum += exponential<T>(x[i] - base);
  s.top = top;
}

}  // namespace anneal::cuda
