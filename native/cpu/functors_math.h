#pragma once
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "cpu/floatspecial.h"
#include "cpu/floattrig.h"

namespace anneal::scalar {

// Functions that loops over float should vectorise; double takes the standard library's.
ANNEAL_HD inline float exp(float x) { return fast::exp(x); }
ANNEAL_HD inline double exp(double x) { return fast::exp(x); }
ANNEAL_HD inline float sigmoid(float x) { return fast::sigmoid(x); }
ANNEAL_HD inline double sigmoid(double x) { return 1 / (1 + fast::exp(-x)); }
#define ANNEAL_FUNCTION(name)                                    \
  ANNEAL_HD inline float name(float x) { return fast::name(x); } \
  ANNEAL_HD inline double name(double x) { return std::name(x); }
ANNEAL_FUNCTION(expm1)
ANNEAL_FUNCTION(exp2)
ANNEAL_FUNCTION(log)
ANNEAL_FUNCTION(log1p)
ANNEAL_FUNCTION(log2)
ANNEAL_FUNCTION(log10)
ANNEAL_FUNCTION(sinh)
ANNEAL_FUNCTION(cosh)
ANNEAL_FUNCTION(tanh)
ANNEAL_FUNCTION(asinh)
ANNEAL_FUNCTION(acosh)
ANNEAL_FUNCTION(atanh)
ANNEAL_FUNCTION(sin)
ANNEAL_FUNCTION(cos)
ANNEAL_FUNCTION(tan)
ANNEAL_FUNCTION(asin)
ANNEAL_FUNCTION(acos)
ANNEAL_FUNCTION(atan)
ANNEAL_FUNCTION(erf)
ANNEAL_FUNCTION(erfc)
#undef ANNEAL_FUNCTION
ANNEAL_HD inline float rsqrt(float x) { return fast::rsqrt(x); }
ANNEAL_HD inline double rsqrt(double x) { return 1 / std::sqrt(x); }
ANNEAL_HD inline float quotient(float a, float b) { return fast::quotient(a, b); }
ANNEAL_HD inline double quotient(double a, double b) { return a / b; }
ANNEAL_HD inline float erfBeside1(float x) { return fast::erfBeside1(x); }
ANNEAL_HD inline double erfBeside1(double x) { return std::erf(x); }
ANNEAL_HD inline float tanhBeside1(float x) { return fast::tanhBeside1(x); }
ANNEAL_HD inline double tanhBeside1(double x) { return std::tanh(x); }
ANNEAL_HD inline float expBeside1(float x) { return fast::expBeside1(x); }
ANNEAL_HD inline double expBeside1(double x) { return fast::exp(x); }

// A functor that is exact for most floats only says for which with `covers`; the others go to `rare`.

struct Sqrt {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return std::sqrt(x);
  }
};
struct Rsqrt {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::rsqrt(x);
  }
};
struct Exp {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::exp(x);
  }
};
struct Expm1 {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::expm1(x);
  }
};
struct Exp2 {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::exp2(x);
  }
};
struct Log {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::log(x);
  }
};
struct Log1p {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::log1p(x);
  }
};
struct Log2 {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::log2(x);
  }
};
struct Log10 {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::log10(x);
  }
};
struct Sin {
  static constexpr bool floats = true;
  ANNEAL_HD static bool covers(float x) { return fast::reducible(x); }
  ANNEAL_HD static float rare(float x) { return std::sin(x); }
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::sin(x);
  }
};
struct Cos {
  static constexpr bool floats = true;
  ANNEAL_HD static bool covers(float x) { return fast::reducible(x); }
  ANNEAL_HD static float rare(float x) { return std::cos(x); }
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::cos(x);
  }
};
struct Tan {
  static constexpr bool floats = true;
  ANNEAL_HD static bool covers(float x) { return fast::reducible(x); }
  ANNEAL_HD static float rare(float x) { return std::tan(x); }
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::tan(x);
  }
};
struct Asin {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::asin(x);
  }
};
struct Acos {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::acos(x);
  }
};
struct Atan {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::atan(x);
  }
};
struct Sinh {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::sinh(x);
  }
};
struct Cosh {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::cosh(x);
  }
};
struct Tanh {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::tanh(x);
  }
};
struct Asinh {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::asinh(x);
  }
};
struct Acosh {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::acosh(x);
  }
};
struct Atanh {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::atanh(x);
  }
};
struct Erf {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::erf(x);
  }
};
struct Erfc {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::erfc(x);
  }
};

/// In double Giles' approximation ("Approximating the erfinv function", 2012) is refined by two of Halley's steps.
struct Erfinv {
  static constexpr bool floats = true;
  ANNEAL_HD float operator()(float y) const { return fast::erfinv(y); }
  ANNEAL_HD double operator()(double y) const {
    if (!(std::abs(y) < 1)) return y == 1 ? INFINITY : (y == -1 ? -INFINITY : NAN);
    double w = -std::log((1 - y) * (1 + y)), x;
    constexpr double central[] = {2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
                                  -0.00125372503, -0.00417768164, 0.246640727,    1.50140941};
    constexpr double tail[] = {-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
                               -0.0076224613,   0.00943887047,  1.00167406,    2.83297682};
#if defined(__CUDA_ARCH__)
    // A table that is chosen has to lie in memory, of each thread.
    const auto p = [&](int i) { return w < 5 ? central[i] : tail[i]; };
#else
    const auto p = [table = w < 5 ? central : tail](int i) { return table[i]; };
#endif
    double v = w < 5 ? w - 2.5 : std::sqrt(w) - 3;
    x = p(0);
    for (int i = 1; i < 9; ++i) x = x * v + p(i);
    x *= y;
    for (int i = 0; i < 2; ++i) {
      double error = std::erf(x) - y, u = error / (1.1283791670955126 * std::exp(-x * x));
      x -= u / (1 + x * u);
    }
    return x;
  }
};

// Integers are whole already.
struct Ceil {
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return x;
    else return std::ceil(x);
  }
};
struct Floor {
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return x;
    else return std::floor(x);
  }
};
struct Round {
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return x;
    else return std::nearbyint(x);
  }
};
struct Trunc {
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return x;
    else return std::trunc(x);
  }
};

}  // namespace anneal::scalar
