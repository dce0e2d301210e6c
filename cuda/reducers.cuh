#pragma once
// Reducers, of which kernels that are compiled at run time are made too. A reducer has a State, which is what a run of
// elements comes to: State none() const, void take(State&, Value, int64_t place) const, State merge(State, State)
// const, and result(State), which is stored.
#include <cmath>
#include <limits>

#include "cpu/scalar.h"

namespace anneal::cuda {

/// What elements of type S are reduced in: floats in float, double in double, integers and bool in int64.
template <class S>
using Accumulated =
    std::conditional_t<std::is_same_v<S, double>, double, std::conditional_t<std::is_integral_v<S>, int64_t, float>>;

/// What becomes of a sum: times `number`, its root, or a power.
struct Finish {
  enum Kind { Scale, Root, Power } kind = Scale;
  double number = 1;
  template <class T>
  __device__ T of(T sum) const {
    if constexpr (std::is_integral_v<T>) return sum;
    else if (kind == Root) return std::sqrt(sum);
    else if (kind == Power) return std::pow(sum, T(number));
    else return sum * T(number);
  }
};

struct Itself {
  template <class T>
  __device__ T operator()(T x) const {
    return x;
  }
};

/// Sums of Map{}(x).
template <class T, class Map = Itself>
struct Adding {
  using State = T;
  Finish finish{};
  Map map{};
  __device__ T none() const { return T(0); }
  __device__ void take(T& sum, T x, int64_t) const { sum = scalar::Add{}(sum, map(x)); }
  __device__ T merge(T a, T b) const { return scalar::Add{}(a, b); }
  __device__ T result(T sum) const { return finish.of(sum); }
};

/// The largest or smallest; NaN wins.
template <class T, bool Largest, class Map = Itself>
struct Extremum {
  using State = T;
  __device__ T none() const {
    if constexpr (std::is_integral_v<T>) return Largest ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
    else return Largest ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::infinity();
  }
  __device__ void take(T& best, T x, int64_t) const { best = merge(best, Map{}(x)); }
  __device__ T merge(T a, T b) const { return (Largest ? b > a : b < a) || b != b ? b : a; }
  __device__ T result(T best) const { return best; }
};

}  // namespace anneal::cuda
