// The loops of elementwise functors, compiled once for each instruction set (see Highway's foreach_target).
#if defined(ANNEAL_CPU_LOOPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_LOOPS_INL_H_
#undef ANNEAL_CPU_LOOPS_INL_H_
#else
#define ANNEAL_CPU_LOOPS_INL_H_
#endif

#include <hwy/highway.h>

#include <array>

#include "cpu/elementwise.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

template <class F>
F make(const double* params) {
  if constexpr (std::is_constructible_v<F, const double*>) return F(params);
  else return F{};
}

/// Whether F is exact for some floats only, and has another way for the rest.
template <class F, class T>
inline constexpr bool kHasRare = std::is_same_v<T, float>&& requires {
  &F::covers;
};

/// A fixed operand is read once; the compiler sees a constant or a plain vector in every variant of the loop.
/// Flattened, because a call that is left would keep the loop from being vectorised.
template <class F, class T, int Arity, unsigned FixedMask>
[[gnu::flatten]] void loopFixed(const void* const* in, void* out, int64_t n, const double* params) {
  const F f = make<F>(params);
  const T* a = static_cast<const T*>(in[0]);
  const T* b = Arity > 1 ? static_cast<const T*>(in[1]) : a;
  const T* c = Arity > 2 ? static_cast<const T*>(in[2]) : a;
  const T a0 = *a, b0 = *b, c0 = *c;
  auto at = [&](int64_t i) {
    const T x = FixedMask & 1u ? a0 : a[i];
    if constexpr (Arity == 1) return f(x);
    const T y = FixedMask & 2u ? b0 : b[i];
    if constexpr (Arity == 2) return f(x, y);
    else if constexpr (Arity == 3) return f(x, y, FixedMask & 4u ? c0 : c[i]);
    else return f(x);
  };
  auto* o = static_cast<decltype(at(0))*>(out);
  if constexpr (kHasRare<F, T>) {
    auto with = [&](int64_t i, auto&& call) {
      const T x = FixedMask & 1u ? a0 : a[i];
      if constexpr (Arity == 1) return call(x);
      else return call(x, FixedMask & 2u ? b0 : b[i]);
    };
    constexpr int64_t kBlock = 256;
    for (int64_t begin = 0; begin < n; begin += kBlock) {
      const int64_t end = std::min(n, begin + kBlock);
      unsigned uncovered = 0;
      for (int64_t i = begin; i < end; ++i) uncovered |= unsigned(!with(i, F::covers));
      if (uncovered) {
        for (int64_t i = begin; i < end; ++i) o[i] = with(i, F::covers) ? at(i) : with(i, F::rare);
        continue;
      }
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) o[i] = at(i);
    }
    return;
  }
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) o[i] = at(i);
}

template <class F, class T, int Arity, unsigned Mask = 0>
void loopOf(const void* const* in, const bool* fixed, void* out, int64_t n, const double* params) {
  unsigned mask = 0;
  for (int i = 0; i < Arity; ++i) mask |= unsigned(fixed[i]) << i;
  if (mask == Mask) return loopFixed<F, T, Arity, Mask>(in, out, n, params);
  if constexpr (Mask + 1 < (1u << Arity)) loopOf<F, T, Arity, Mask + 1>(in, fixed, out, n, params);
}

template <class F, int Arity, class T>
constexpr bool givesBool() {
  if constexpr (Arity == 1) return std::is_same_v<std::invoke_result_t<F, T>, bool>;
  else if constexpr (Arity == 2) return std::is_same_v<std::invoke_result_t<F, T, T>, bool>;
  else return false;
}

template <class F, int Arity>
LoopSet setOf() {
  LoopSet set{.boolResult = givesBool<F, Arity, float>()};
  if constexpr (!requires { F::integers; }) {
    set.f32 = loopOf<F, float, Arity>;
    set.f64 = loopOf<F, double, Arity>;
  }
  if constexpr (!requires { F::floats; }) {
    set.i32 = loopOf<F, int32_t, Arity>;
    set.i64 = loopOf<F, int64_t, Arity>;
  }
  return set;
}

template <int Arity, class... F>
LoopSet setAt(scalar::List<F...>, int index) {
  static const std::array<LoopSet, sizeof...(F)> sets{setOf<F, Arity>()...};
  return sets[size_t(index)];
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
