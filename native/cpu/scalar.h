#pragma once
// Elementwise functors, written once for every backend. A functor takes values of the type that kernels compute in (float,
// double, int32, int64) and returns that type, or bool. `floats` marks those that take floats only. A functor with numbers of
// its own is built from them (`explicit F(const double*)`) and says with `params` how attributes become those numbers.
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace anneal::scalar {

template <class... F>
struct List {};

/// The place of F in a list, or -1.
template <class F, class... All>
constexpr int indexOf(List<All...>) {
  int found = -1, i = 0;
  ((std::is_same_v<F, All> ? void(found = i++) : void(++i)), ...);
  return found;
}

/// Integer arithmetic wraps: done unsigned, where overflow is defined.
template <class T>
using Wrapping = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>, std::type_identity<T>>::type;

struct Copy {
  template <class T>
  T operator()(T x) const { return x; }
};
struct Neg {
  template <class T>
  T operator()(T x) const { return T(Wrapping<T>(0) - Wrapping<T>(x)); }
};
struct Exp {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const { return std::exp(x); }
};
struct Log {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const { return std::log(x); }
};
struct Relu {
  template <class T>
  T operator()(T x) const { return x > T(0) || x != x ? x : T(0); }
};

struct Add {
  template <class T>
  T operator()(T a, T b) const { return T(Wrapping<T>(a) + Wrapping<T>(b)); }
};
struct Sub {
  template <class T>
  T operator()(T a, T b) const { return T(Wrapping<T>(a) - Wrapping<T>(b)); }
};
struct Mul {
  template <class T>
  T operator()(T a, T b) const { return T(Wrapping<T>(a) * Wrapping<T>(b)); }
};
struct Div {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T a, T b) const { return a / b; }
};
struct Greater {
  template <class T>
  bool operator()(T a, T b) const { return a > b; }
};

struct Where {
  template <class T>
  T operator()(T condition, T a, T b) const { return condition != T(0) ? a : b; }
};

using Unary = List<Copy, Neg, Exp, Log, Relu>;
using Binary = List<Add, Sub, Mul, Div, Greater>;
using Ternary = List<Where>;

}  // namespace anneal::scalar
