#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/crossentropy_loops.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/crossentropy.h"
#include "cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

template <class T>
CrossEntropySums forwardRow(const CrossEntropyRow& row) {
  const T* x = static_cast<const T*>(row.logits);
  const T* soft = static_cast<const T*>(row.probabilities);
  const double* w = row.weights;
  const int64_t n = row.classes;
  const double hard = 1 - row.smoothing, even = row.smoothing / double(n);
  CrossEntropySums sums{.logSumExp = rowLogSumExp(x, n)};
  const T lse = T(sums.logSumExp);
  if (soft) {
    // Each class counts with its weight times its smoothed probability.
    auto share = [&](int64_t j) { return T((w ? w[j] : 1) * (hard * double(soft[j]) + even)); };
    sums.weight = rowSum<T>(n, share);
    sums.loss = rowSum<T>(n, [&](int64_t j) { return share(j) * (lse - x[j]); });
    return sums;
  }
  const double weight = w ? w[row.target] : 1;
  sums.weight = hard * weight;
  sums.loss = sums.weight * (sums.logSumExp - double(x[row.target]));
  if (row.smoothing != 0) {
    sums.weight += even * (w ? rowSum<double>(n, [&](int64_t j) { return w[j]; }) : double(n));
    sums.loss += even * rowSum<T>(n, [&](int64_t j) { return T(w ? w[j] : 1) * (lse - x[j]); });
  }
  return sums;
}

template <class T>
void backwardRow(const CrossEntropyRow& row, const CrossEntropySums& sums, double scale, void* gradient) {
  const T* x = static_cast<const T*>(row.logits);
  const T* soft = static_cast<const T*>(row.probabilities);
  const double* w = row.weights;
  T* out = static_cast<T*>(gradient);
  const int64_t n = row.classes;
  const double hard = 1 - row.smoothing;
  const T lse = T(sums.logSumExp), factor = T(scale * sums.weight), even = T(scale * row.smoothing / double(n));
  if (soft) {
    const T all = T(scale * hard);
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j)
      out[j] = factor * scalar::fast::exp(x[j] - lse) - T(w ? w[j] : 1) * (all * soft[j] + even);
    return;
  }
  if (w && row.smoothing != 0) {
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) out[j] = factor * scalar::fast::exp(x[j] - lse) - T(w[j]) * even;
  } else {
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) out[j] = factor * scalar::fast::exp(x[j] - lse) - even;
  }
  out[row.target] -= T(scale * hard * (w ? w[row.target] : 1));
}

CrossEntropyLoops crossEntropyAt(bool single) {
  return single ? CrossEntropyLoops{forwardRow<float>, backwardRow<float>}
                : CrossEntropyLoops{forwardRow<double>, backwardRow<double>};
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(crossEntropyAt);
CrossEntropyLoops crossEntropyLoops(DType compute) {
  return HWY_DYNAMIC_DISPATCH(crossEntropyAt)(compute == DType::Float32);
}
}  // namespace anneal::cpu
#endif
