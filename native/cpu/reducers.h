#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "cpu/floatmath.h"
#include "cpu/reduce_loops.h"
#include "cpu/scalar.h"

/// Reducers as functors: `initial` is the total of nothing, `map` what an element adds, `merge` joins two totals.
namespace anneal::cpu::reducers {

template <class T>
constexpr T lowest() {
  if constexpr (std::is_floating_point_v<T>) return -std::numeric_limits<T>::infinity();
  else return std::numeric_limits<T>::min();
}
template <class T>
constexpr T highest() {
  if constexpr (std::is_floating_point_v<T>) return std::numeric_limits<T>::infinity();
  else return std::numeric_limits<T>::max();
}
template <class T>
T absolute(T x) {
  if constexpr (std::is_floating_point_v<T>) return std::fabs(x);
  else return x < 0 ? scalar::Neg{}(x) : x;
}

struct Adding {
  template <class T>
  static T initial() {
    return T(0);
  }
  template <class T>
  static T merge(T a, T b) {
    return scalar::Add{}(a, b);
  }
};
/// NaN wins, as in PyTorch.
struct Highest {
  template <class T>
  static T initial() {
    return lowest<T>();
  }
  template <class T>
  static T merge(T a, T b) {
    return (b > a) | (b != b) ? b : a;
  }
};
struct Lowest {
  template <class T>
  static T initial() {
    return highest<T>();
  }
  template <class T>
  static T merge(T a, T b) {
    return (b < a) | (b != b) ? b : a;
  }
};

struct Sum : Adding {
  template <class T>
  static T map(T x, T) {
    return x;
  }
};
struct NonzeroCount : Adding {
  template <class T>
  static T map(T x, T) {
    return x != T(0) ? T(1) : T(0);
  }
};
struct AbsSum : Adding {
  template <class T>
  static T map(T x, T) {
    return absolute(x);
  }
};
struct SquareSum : Adding {
  template <class T>
  static T map(T x, T) {
    return scalar::Mul{}(x, x);
  }
};
struct PowerSum : Adding {
  template <class T>
  static T map(T x, T power) {
    return T(std::pow(absolute(x), power));
  }
};
struct SquaredDeviation : Adding {
  template <class T>
  static T map(T x, T mean) {
    return scalar::Mul{}(scalar::Sub{}(x, mean), scalar::Sub{}(x, mean));
  }
};
struct ExpSum : Adding {
  template <class T>
  static T map(T x, T highest) {
    if constexpr (std::is_floating_point_v<T>) return scalar::fast::exp(x - highest);
    else return T(0);
  }
};
struct Prod {
  template <class T>
  static T initial() {
    return T(1);
  }
  template <class T>
  static T map(T x, T) {
    return x;
  }
  template <class T>
  static T merge(T a, T b) {
    return scalar::Mul{}(a, b);
  }
};
struct Max : Highest {
  template <class T>
  static T map(T x, T) {
    return x;
  }
};
struct Min : Lowest {
  template <class T>
  static T map(T x, T) {
    return x;
  }
};
struct AbsMax : Highest {
  template <class T>
  static T map(T x, T) {
    return absolute(x);
  }
};
struct AbsMin : Lowest {
  template <class T>
  static T map(T x, T) {
    return absolute(x);
  }
};
struct Any : Highest {
  template <class T>
  static T initial() {
    return T(0);
  }
  template <class T>
  static T map(T x, T) {
    return x != T(0) ? T(1) : T(0);
  }
};
struct All : Lowest {
  template <class T>
  static T initial() {
    return T(1);
  }
  template <class T>
  static T map(T x, T) {
    return x != T(0) ? T(1) : T(0);
  }
};

/// Calls `f` with the functor of a reducer.
template <class F>
decltype(auto) visit(Reducer reducer, F&& f) {
  switch (reducer) {
    case Reducer::Sum: return f(Sum{});
    case Reducer::NonzeroCount: return f(NonzeroCount{});
    case Reducer::AbsSum: return f(AbsSum{});
    case Reducer::SquareSum: return f(SquareSum{});
    case Reducer::PowerSum: return f(PowerSum{});
    case Reducer::SquaredDeviation: return f(SquaredDeviation{});
    case Reducer::ExpSum: return f(ExpSum{});
    case Reducer::Prod: return f(Prod{});
    case Reducer::Max: return f(Max{});
    case Reducer::Min: return f(Min{});
    case Reducer::AbsMax: return f(AbsMax{});
    case Reducer::AbsMin: return f(AbsMin{});
    case Reducer::Any: return f(Any{});
    default: return f(All{});
  }
}

}  // namespace anneal::cpu::reducers
