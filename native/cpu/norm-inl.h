// What kernels of normalisation share, compiled once for each instruction set (see Highway's foreach_target).
#if defined(ANNEAL_CPU_NORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_NORM_INL_H_
#undef ANNEAL_CPU_NORM_INL_H_
#else
#define ANNEAL_CPU_NORM_INL_H_
#endif

#include <hwy/highway.h>

#include <bit>
#include <cmath>
#include <vector>

#include "cpu/convert.h"
#include "cpu/norm.h"
#include "cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

/// A parameter as the type that is computed in; `fallback` everywhere where it is absent.
template <class T>
std::vector<T> parameter(const View& v, int64_t n, T fallback) {
  std::vector<T> out(size_t(n), fallback);
  if (v.defined) visitType(v.dtype, [&]<class S>(TypeTag<S>) { convertStrided(v.as<S>(), 1, out.data(), 1, n); });
  return out;
}

/// Calls f with the storage type and the type to compute in.
template <class F>
void visitFloats(DType dtype, F&& f) {
  switch (dtype) {
    case DType::Float64: return f(double{}, double{});
    case DType::Float16: return f(Half{}, float{});
    case DType::BFloat16: return f(BFloat16{}, float{});
    default: return f(float{}, float{});
  }
}

/// to[i] = the sum over `parts` of from[part * n + i], always in the same order.
template <class T>
void sumParts(const T* from, int64_t parts, int64_t n, T* HWY_RESTRICT to) {
  std::fill_n(to, n, T(0));
  for (int64_t p = 0; p < parts; ++p)
    for (int64_t i = 0; i < n; ++i) to[i] += from[p * n + i];
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
