#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/ctc_loops.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
//
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cpu/ctc.h"
#include "cpu/floatmath.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

template <class T>
inline constexpr T kNever = -std::numeric_limits<T>::infinity();

inline float logOf(float x) { return scalar::fast::log(x); }
inline double logOf(double x) { return std::log(x); }

template <class T>
inline T logSumExp(T a, T b, T c) {
  const T top = std::max(std::max(a, b), c);
  const T base = top > kNever<T> ? top : T(0);  // so that infinities are compared with a finite number
  return base + logOf(scalar::fast::exp(a - base) + scalar::fast::exp(b - base) + scalar::fast::exp(c - base));
}

/// 0 for states that can follow the one before the last: labels that differ from it; else -Infinity.
template <class T>
std::vector<T> skips(const std::vector<int64_t>& labels) {
  std::vector<T> skip(labels.size() + kCtcPadding, kNever<T>);
  for (size_t s = 3; s < labels.size(); s += 2)
    if (labels[s] != labels[s - 2]) skip[s] = 0;
  return skip;
}

template <class T>
void emit(const CtcSample& sample, int64_t frame, T* to) {
  const T* at = static_cast<const T*>(sample.logProbs) + frame * sample.frameStep;
  for (size_t s = 0; s < sample.labels.size(); ++s) to[s] = at[sample.labels[s]];
}

template <class T>
double forward(const CtcSample& sample, void* alpha, int64_t alphaStep) {
  const int64_t states = int64_t(sample.labels.size());
  if (sample.frames == 0) return states == 1 ? 0 : -double(kNever<T>);
  const std::vector<T> skips_ = skips<T>(sample.labels);
  std::vector<T> emissions(sample.labels.size());
  const T *skip = skips_.data(), *emission = emissions.data();
  T* now = static_cast<T*>(alpha) + kCtcPadding;
  for (int64_t t = 0; t < sample.frames; ++t, now += alphaStep) {
    emit(sample, t, emissions.data());
    std::fill(now - kCtcPadding, now, kNever<T>);
    if (t == 0) {
      for (int64_t s = 0; s < states; ++s) now[s] = s < 2 ? emission[s] : kNever<T>;
      continue;
    }
    const T* before = now - alphaStep;
#pragma GCC ivdep
    for (int64_t s = 0; s < states; ++s)
      now[s] = logSumExp(before[s], before[s - 1], before[s - 2] + skip[s]) + emission[s];
  }
  const T* last = now - alphaStep + states - 1;
  return -double(logSumExp(last[0], last[-1], kNever<T>));
}

template <class T>
void backward(const CtcSample& sample, const void* alpha, int64_t alphaStep, double loss, double scale,
              void* gradient) {
  const int64_t states = int64_t(sample.labels.size());
  const std::vector<T> skips_ = skips<T>(sample.labels);
  // Beta leaves the state's own emission out; `onward` has it in. The latter is padded for the states after the last.
  std::vector<T> emissions(sample.labels.size()), betas(sample.labels.size(), kNever<T>),
      onwards(sample.labels.size() + kCtcPadding, kNever<T>), posteriors(sample.labels.size());
  const T *skip = skips_.data(), *emission = emissions.data();
  T *beta = betas.data(), *onward = onwards.data(), *posterior = posteriors.data();
  for (int64_t s = std::max<int64_t>(0, states - 2); s < states; ++s) beta[s] = 0;
  for (int64_t t = sample.frames - 1; t >= 0; --t) {
    emit(sample, t, emissions.data());
    const T* reached = static_cast<const T*>(alpha) + t * alphaStep + kCtcPadding;
    if (t < sample.frames - 1) {
#pragma GCC ivdep
      for (int64_t s = 0; s < states; ++s) beta[s] = logSumExp(onward[s], onward[s + 1], onward[s + 2] + skip[s + 2]);
    }
#pragma GCC ivdep
    for (int64_t s = 0; s < states; ++s) {
      posterior[s] = scalar::fast::exp(reached[s] + beta[s] + T(loss));
      onward[s] = beta[s] + emission[s];
    }
    // Probabilities of all states, but for what rounding did to the large logarithms: a factor common to them.
    const double total = std::accumulate(posteriors.begin(), posteriors.end(), 0.0);
    T* to = static_cast<T*>(gradient) + t * sample.frameStep;
    for (int64_t s = 0; s < states; ++s) to[sample.labels[size_t(s)]] -= T(scale / total) * posterior[s];
  }
}

CtcLoops ctcAt(bool single) {
  return single ? CtcLoops{forward<float>, backward<float>} : CtcLoops{forward<double>, backward<double>};
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(ctcAt);
CtcLoops ctcLoops(DType compute) { return HWY_DYNAMIC_DISPATCH(ctcAt)(compute == DType::Float32); }
}  // namespace anneal::cpu
#endif
