#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/portable.h"

namespace anneal::scalar {

struct Equal {
  template <class T>
  ANNEAL_HD bool operator()(T a, T b) const {
    return a == b;
  }
};
struct NotEqual {
  template <class T>
  ANNEAL_HD bool operator()(T a, T b) const {
    return a != b;
  }
};
struct Less {
  template <class T>
  ANNEAL_HD bool operator()(T a, T b) const {
    return a < b;
  }
};
struct LessEqual {
  template <class T>
  ANNEAL_HD bool operator()(T a, T b) const {
    return a <= b;
  }
};
struct Greater {
  template <class T>
  ANNEAL_HD bool operator()(T a, T b) const {
    return a > b;
  }
};
struct GreaterEqual {
  template <class T>
  ANNEAL_HD bool operator()(T a, T b) const {
    return a >= b;
  }
};
/// Numbers: relative tolerance, absolute tolerance, whether NaN is close to NaN.
struct IsClose {
  ANNEAL_HD explicit IsClose(const double* p) : rtol(p[0]), atol(p[1]), equalNan(p[2] != 0) {}
  template <class T>
  ANNEAL_HD bool operator()(T a, T b) const {
    using F = std::conditional_t<std::is_integral_v<T>, double, T>;
    F x = F(a), y = F(b), difference = std::abs(x - y);
    bool near = difference <= F(atol) + F(rtol) * std::abs(y) && difference <= std::numeric_limits<F>::max();
    return a == b || near || (equalNan && a != a && b != b);
  }
  double rtol, atol;
  bool equalNan;
};

struct LogicalNot {
  template <class T>
  ANNEAL_HD bool operator()(T x) const {
    return x == T(0);
  }
};
struct LogicalAnd {
  template <class T>
  ANNEAL_HD bool operator()(T a, T b) const {
    return (a != T(0)) & (b != T(0));
  }
};
struct LogicalOr {
  template <class T>
  ANNEAL_HD bool operator()(T a, T b) const {
    return (a != T(0)) | (b != T(0));
  }
};
struct LogicalXor {
  template <class T>
  ANNEAL_HD bool operator()(T a, T b) const {
    return (a != T(0)) ^ (b != T(0));
  }
};

struct IsNan {
  template <class T>
  ANNEAL_HD bool operator()(T x) const {
    return x != x;
  }
};
struct IsFinite {
  template <class T>
  ANNEAL_HD bool operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return true;
    else return std::abs(x) <= std::numeric_limits<T>::max();
  }
};
struct IsInf {
  template <class T>
  ANNEAL_HD bool operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return false;
    else return std::abs(x) > std::numeric_limits<T>::max();
  }
};

struct BitwiseNot {
  static constexpr bool integers = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return ~x;
  }
};
struct BitwiseAnd {
  static constexpr bool integers = true;
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    return a & b;
  }
};
struct BitwiseOr {
  static constexpr bool integers = true;
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    return a | b;
  }
};
struct BitwiseXor {
  static constexpr bool integers = true;
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    return a ^ b;
  }
};
/// Shifting by as many bits as there are, or by a negative number, shifts everything out.
struct ShiftLeft {
  static constexpr bool integers = true;
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    constexpr T bits = sizeof(T) * 8;
    return b < 0 || b >= bits ? T(0) : T(std::make_unsigned_t<T>(a) << b);
  }
};
struct ShiftRight {
  static constexpr bool integers = true;
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    constexpr T bits = sizeof(T) * 8;
    return a >> (b < 0 || b >= bits ? bits - 1 : b);
  }
};

struct Where {
  template <class T>
  ANNEAL_HD T operator()(T condition, T a, T b) const {
    return condition != T(0) ? a : b;
  }
};

}  // namespace anneal::scalar
