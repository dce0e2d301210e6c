#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "cpu/floatspecial.h"
#include "cpu/floattrig.h"

namespace anneal::scalar {

ANNEAL_HD inline float fmod(float a, float b) { return fast::fmod(a, b); }
ANNEAL_HD inline double fmod(double a, double b) { return std::fmod(a, b); }
ANNEAL_HD inline float pow(float a, float b) { return fast::pow(a, b); }
ANNEAL_HD inline double pow(double a, double b) { return std::pow(a, b); }
ANNEAL_HD inline float atan2(float a, float b) { return fast::atan2(a, b); }
ANNEAL_HD inline double atan2(double a, double b) { return std::atan2(a, b); }
ANNEAL_HD inline float hypot(float a, float b) { return fast::hypot(a, b); }
ANNEAL_HD inline double hypot(double a, double b) { return std::hypot(a, b); }

/// Integer arithmetic wraps: done unsigned, where overflow is defined.
template <class T>
using Wrapping = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>, std::type_identity<T>>::type;

struct Copy {
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return x;
  }
};
struct Neg {
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return T(Wrapping<T>(0) - Wrapping<T>(x));
    else return -x;
  }
};
struct Abs {
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return x < 0 ? T(Wrapping<T>(0) - Wrapping<T>(x)) : x;
    else return std::abs(x);
  }
};
struct Sign {
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return T(x > T(0)) - T(x < T(0));
  }
};
struct Square {
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return T(Wrapping<T>(x) * Wrapping<T>(x));
  }
};
struct Cube {
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return T(Wrapping<T>(x) * Wrapping<T>(x) * Wrapping<T>(x));
  }
};
struct Reciprocal {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return T(1) / x;
  }
};

struct Add {
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    return T(Wrapping<T>(a) + Wrapping<T>(b));
  }
};
struct Sub {
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    return T(Wrapping<T>(a) - Wrapping<T>(b));
  }
};
struct Mul {
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    return T(Wrapping<T>(a) * Wrapping<T>(b));
  }
};
struct Div {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    return a / b;
  }
};

/// The quotient rounded down. The kernel has made sure that no integer divisor is 0.
struct FloorDiv {
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0) return 0;
      if (b == -1) return T(Wrapping<T>(0) - Wrapping<T>(a));  // the lowest integer by -1 would trap
      return T(a / b - (a % b != 0 && (a % b < 0) != (b < 0)));
    } else {
      // The remainder is exact, so that the quotient is rounded once.
      T rest = scalar::fmod(a, b), q = (a - rest) / b;
      q = (rest != T(0)) & ((rest < T(0)) != (b < T(0))) ? q - T(1) : q;
      T down = std::floor(q), near = q - down > T(0.5) ? down + T(1) : down;
      near = q == T(0) ? std::copysign(T(0), a / b) : near;
      return b == T(0) ? a / b : near;
    }
  }
  ANNEAL_HD static bool covers(float a, float b) { return fast::divisible(a, b); }
  ANNEAL_HD static float rare(float a, float b) { return float(FloorDiv{}(double(a), double(b))); }
};
/// The remainder with the sign of the divisor.
struct Mod {
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0 || b == -1) return 0;
      T rest = a % b;
      return rest != 0 && (rest < 0) != (b < 0) ? T(rest + b) : rest;
    } else {
      T rest = scalar::fmod(a, b);
      return (rest != T(0)) & ((rest < T(0)) != (b < T(0))) ? rest + b : rest;
    }
  }
  ANNEAL_HD static bool covers(float a, float b) { return fast::divisible(a, b); }
  ANNEAL_HD static float rare(float a, float b) {
    float rest = std::fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
  }
};
/// The remainder with the sign of the dividend.
struct Fmod {
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) return b == 0 || b == -1 ? T(0) : T(a % b);
    else return scalar::fmod(a, b);
  }
  ANNEAL_HD static bool covers(float a, float b) { return fast::divisible(a, b); }
  ANNEAL_HD static float rare(float a, float b) { return std::fmod(a, b); }
};
struct Pow {
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    if constexpr (!std::is_integral_v<T>) {
      return scalar::pow(a, b);
    } else {
      if (b < 0) return a == 1 ? T(1) : (a == -1 ? T(b & 1 ? -1 : 1) : T(0));
      Wrapping<T> result = 1, factor = Wrapping<T>(a);
      for (; b; b >>= 1, factor *= factor)
        if (b & 1) result *= factor;
      return T(result);
    }
  }
};
/// NaN in either operand gives NaN.
struct Maximum {
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};
struct Minimum {
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};
struct Atan2 {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    return scalar::atan2(a, b);
  }
};
struct Hypot {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T a, T b) const {
    return scalar::hypot(a, b);
  }
};

/// A bound of a range as T: integers saturate.
template <class T>
ANNEAL_HD T bound(double v) {
  if constexpr (std::is_integral_v<T>) {
    if (v >= double(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
    if (v <= double(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
  }
  return T(v);
}
struct Clamp {
  ANNEAL_HD explicit Clamp(const double* p) : low(p[0]), high(p[1]) {}
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    const T lo = bound<T>(low), hi = bound<T>(high);
    T y = x < lo ? lo : x;
    return y > hi ? hi : y;
  }
  double low, high;
};
struct ClampGrad {
  static constexpr bool floats = true;
  ANNEAL_HD explicit ClampGrad(const double* p) : low(p[0]), high(p[1]) {}
  template <class T>
  ANNEAL_HD T operator()(T g, T x) const {
    return x >= T(low) && x <= T(high) ? g : T(0);
  }
  double low, high;
};

/// From whichever end is nearer, so that both ends are met exactly.
struct Lerp {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T a, T b, T w) const {
    T d = b - a;
    return std::abs(w) < T(0.5) ? a + w * d : b - d * (T(1) - w);
  }
};

}  // namespace anneal::scalar
