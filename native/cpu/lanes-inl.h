// Sums and maxima over one row, compiled once for each instruction set.
#if defined(ANNEAL_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_LANES_INL_H_
#undef ANNEAL_CPU_LANES_INL_H_
#else
#define ANNEAL_CPU_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include "cpu/reducers.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

constexpr int64_t kLanes = 32;
constexpr int64_t kPiece = 512;  // elements added up in lanes before the sum goes on in double

/// Merges of(j) for all j below n, in kLanes lanes.
template <class F, class T, class Of>
T mergeLanes(int64_t n, Of of) {
  T total = F::template initial<T>();
  int64_t j = 0;
  if (n >= kLanes) {
    alignas(64) T lanes[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] = of(l);
    for (j = kLanes; j + kLanes <= n; j += kLanes)
      for (int64_t l = 0; l < kLanes; ++l) lanes[l] = F::merge(lanes[l], T(of(j + l)));
    for (int64_t half = kLanes / 2; half; half /= 2)
      for (int64_t l = 0; l < half; ++l) lanes[l] = F::merge(lanes[l], lanes[l + half]);
    total = lanes[0];
  }
  for (; j < n; ++j) total = F::merge(total, T(of(j)));
  return total;
}

/// The largest element; NaN if there is one.
template <class T>
T rowMax(const T* x, int64_t n) {
  return mergeLanes<reducers::Max, T>(n, [x](int64_t j) { return x[j]; });
}

/// The sum of of(j) for all j below n.
template <class T, class Of>
double rowSum(int64_t n, Of of) {
  double total = 0;
  for (int64_t at = 0; at < n; at += kPiece)
    total += double(mergeLanes<reducers::Sum, T>(std::min(kPiece, n - at), [&](int64_t j) { return of(at + j); }));
  return total;
}

/// Stores of(j) in out[j] and gives the sum.
template <class T, class Of>
double storeSum(T* out, int64_t n, Of of) {
  double total = 0;
  for (int64_t at = 0; at < n; at += kPiece) {
    const int64_t end = std::min(at + kPiece, n);
#pragma GCC ivdep
    for (int64_t j = at; j < end; ++j) out[j] = of(j);
    total += double(mergeLanes<reducers::Sum, T>(end - at, [&](int64_t j) { return out[at + j]; }));
  }
  return total;
}

/// log(sum of e^x), and the largest element on the way.
template <class T>
double rowLogSumExp(const T* x, int64_t n) {
  const T top = rowMax(x, n);
  alignas(64) T piece[kPiece];
  double total = 0;
  for (int64_t at = 0; at < n; at += kPiece) {
    const T* from = x + at;
    total += storeSum(piece, std::min(kPiece, n - at), [&](int64_t j) { return scalar::fast::exp(from[j] - top); });
  }
  return double(top) + std::log(total);
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
