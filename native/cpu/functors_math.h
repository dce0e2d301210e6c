#pragma once
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "cpu/floatmath.h"

namespace anneal::scalar {

// Functions that loops over float should vectorise; double takes the standard library's.
inline float exp(float x) { return fast::exp(x); }
inline double exp(double x) { return std::exp(x); }
inline float expm1(float x) { return fast::expm1(x); }
inline double expm1(double x) { return std::expm1(x); }
inline float exp2(float x) { return fast::exp2(x); }
inline double exp2(double x) { return std::exp2(x); }
inline float log(float x) { return fast::log(x); }
inline double log(double x) { return std::log(x); }
inline float log1p(float x) { return fast::log1p(x); }
inline double log1p(double x) { return std::log1p(x); }
inline float log2(float x) { return fast::log2(x); }
inline double log2(double x) { return std::log2(x); }
inline float log10(float x) { return fast::log10(x); }
inline double log10(double x) { return std::log10(x); }
inline float tanh(float x) { return fast::tanh(x); }
inline double tanh(double x) { return std::tanh(x); }
inline float erf(float x) { return fast::erf(x); }
inline double erf(double x) { return std::erf(x); }
inline float sigmoid(float x) { return fast::sigmoid(x); }
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Sqrt {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::sqrt(x);
  }
};
struct Rsqrt {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return T(1) / std::sqrt(x);
  }
};
struct Exp {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return scalar::exp(x);
  }
};
struct Expm1 {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return scalar::expm1(x);
  }
};
struct Exp2 {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return scalar::exp2(x);
  }
};
struct Log {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return scalar::log(x);
  }
};
struct Log1p {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return scalar::log1p(x);
  }
};
struct Log2 {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return scalar::log2(x);
  }
};
struct Log10 {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return scalar::log10(x);
  }
};
struct Sin {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::sin(x);
  }
};
struct Cos {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::cos(x);
  }
};
struct Tan {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::tan(x);
  }
};
struct Asin {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::asin(x);
  }
};
struct Acos {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::acos(x);
  }
};
struct Atan {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::atan(x);
  }
};
struct Sinh {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::sinh(x);
  }
};
struct Cosh {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::cosh(x);
  }
};
struct Tanh {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return scalar::tanh(x);
  }
};
struct Asinh {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::asinh(x);
  }
};
struct Acosh {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::acosh(x);
  }
};
struct Atanh {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::atanh(x);
  }
};
struct Erf {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return scalar::erf(x);
  }
};
struct Erfc {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T x) const {
    return std::erfc(x);
  }
};

/// Giles' approximation ("Approximating the erfinv function", 2012), refined by two of Halley's steps.
struct Erfinv {
  static constexpr bool floats = true;
  template <class T>
  T operator()(T given) const {
    double y = given;
    if (!(std::abs(y) < 1)) return T(y == 1 ? INFINITY : (y == -1 ? -INFINITY : NAN));
    double w = -std::log((1 - y) * (1 + y)), x;
    constexpr double central[] = {2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
                                  -0.00125372503, -0.00417768164, 0.246640727,    1.50140941};
    constexpr double tail[] = {-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
                               -0.0076224613,   0.00943887047,  1.00167406,    2.83297682};
    const double* p = w < 5 ? central : tail;
    double v = w < 5 ? w - 2.5 : std::sqrt(w) - 3;
    x = p[0];
    for (int i = 1; i < 9; ++i) x = x * v + p[i];
    x *= y;
    for (int i = 0; i < 2; ++i) {
      double error = std::erf(x) - y, u = error / (1.1283791670955126 * std::exp(-x * x));
      x -= u / (1 + x * u);
    }
    return T(x);
  }
};

// Integers are whole already.
struct Ceil {
  template <class T>
  T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return x;
    else return std::ceil(x);
  }
};
struct Floor {
  template <class T>
  T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return x;
    else return std::floor(x);
  }
};
struct Round {
  template <class T>
  T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return x;
    else return std::nearbyint(x);
  }
};
struct Trunc {
  template <class T>
  T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return x;
    else return std::trunc(x);
  }
};

}  // namespace anneal::scalar
