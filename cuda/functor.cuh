#pragma once
// How kernels make and call the functors that the CPU uses (native/cpu/functors_*.h).
#include <type_traits>

#include "cpu/scalar.h"

namespace anneal::cuda {

/// A functor from the eight numbers of its op, if it has any.
template <class F>
__device__ F make(const double* numbers) {
  if constexpr (std::is_constructible_v<F, const double*>) return F(numbers);
  else return F{};
}

/// Whether F is exact for some floats only, and has another way for the rest.
template <class F, class T>
inline constexpr bool kHasRare = std::is_same_v<T, float>&& requires {
  &F::covers;
};

template <class F, class T, int Arity>
__device__ __forceinline__ auto apply(const F& f, const T (&x)[Arity]) {
  if constexpr (Arity == 1) {
    if constexpr (kHasRare<F, T>) return F::covers(x[0]) ? f(x[0]) : F::rare(x[0]);
    else return f(x[0]);
  } else if constexpr (Arity == 2) {
    if constexpr (kHasRare<F, T>) return F::covers(x[0], x[1]) ? f(x[0], x[1]) : F::rare(x[0], x[1]);
    else return f(x[0], x[1]);
  } else {
    return f(x[0], x[1], x[2]);
  }
}

}  // namespace anneal::cuda
