#pragma once
// Activations, and their gradients as functions of the gradient `g` of the result and of the input `x` or the result
// `y`.
#include "cpu/functors_math.h"

namespace anneal::scalar {

struct Relu {
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return x < T(0) ? T(0) : x;
  }
};
struct ReluGrad {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T g, T y) const {
    return y > T(0) ? g : T(0);
  }
};
/// Number: the slope of the negative side.
struct LeakyRelu {
  static constexpr bool floats = true;
  ANNEAL_HD explicit LeakyRelu(const double* p) : slope(p[0]) {}
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return x > T(0) ? x : x * T(slope);
  }
  double slope;
};
struct LeakyReluGrad {
  static constexpr bool floats = true;
  ANNEAL_HD explicit LeakyReluGrad(const double* p) : slope(p[0]) {}
  template <class T>
  ANNEAL_HD T operator()(T g, T x) const {
    return x > T(0) ? g : g * T(slope);
  }
  double slope;
};
/// Numbers: the factor of the negative side, that of the positive side, that of the input inside the exponential.
struct Elu {
  static constexpr bool floats = true;
  ANNEAL_HD explicit Elu(const double* p) : negative(p[0]), positive(p[1]), inner(p[2]) {}
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    T below = scalar::expm1(x * T(inner)) * T(negative);
    return x > T(0) ? x * T(positive) : below;
  }
  double negative, positive, inner;
};
struct EluGrad {
  static constexpr bool floats = true;
  ANNEAL_HD explicit EluGrad(const double* p) : negative(p[0]), positive(p[1]), inner(p[2]) {}
  template <class T>
  ANNEAL_HD T operator()(T g, T x) const {
    T below = g * T(negative) * T(inner) * scalar::exp(x * T(inner));
    return x > T(0) ? g * T(positive) : below;
  }
  double negative, positive, inner;
};

struct Gelu {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return T(0.5) * x * (T(1) + scalar::erfBeside1(x * T(0.70710678118654752)));
  }
};
struct GeluGrad {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T g, T x) const {
    T area = T(0.5) * (T(1) + scalar::erfBeside1(x * T(0.70710678118654752)));
    T density = scalar::expBeside1(T(-0.5) * x * x) * T(0.39894228040143268);
    return g * (area + x * density);
  }
};
struct GeluTanh {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return T(0.5) * x * (T(1) + scalar::tanhBeside1(T(0.79788456080286536) * (x + T(0.044715) * x * x * x)));
  }
};
struct GeluTanhGrad {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T g, T x) const {
    constexpr T k = T(0.79788456080286536), c = T(0.044715);
    T t = scalar::tanhBeside1(k * (x + c * x * x * x));
    return g * T(0.5) * ((T(1) + t) + x * (T(1) - t * t) * k * (T(1) + T(3) * c * x * x));
  }
};

struct Sigmoid {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::sigmoid(x);
  }
};
struct SigmoidGrad {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T g, T y) const {
    return g * (T(1) - y) * y;
  }
};
struct TanhGrad {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T g, T y) const {
    return g * (T(1) - y * y);
  }
};
struct Silu {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return scalar::quotient(x, T(1) + scalar::exp(-x));
  }
};
struct SiluGrad {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T g, T x) const {
    T s = scalar::sigmoid(x);
    return g * s * (T(1) + x * (T(1) - s));
  }
};
/// log(sigmoid(x)), from the side where the exponential does not overflow.
struct LogSigmoid {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    T size = x < T(0) ? -x : x;
    return (x < T(0) ? x : T(0)) - scalar::log1p(scalar::exp(-size));
  }
};

/// tanh(log(1 + e^x)) = (e^2 + 2e) / (e^2 + 2e + 2) with e = e^x; 1 from x = 20 on.
template <class T>
ANNEAL_HD T tanhSoftplus(T x) {
  T e = scalar::exp(x > T(20) ? T(20) : x), n = e * (e + T(2));
  return scalar::quotient(n, n + T(2));
}
struct Mish {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return x * tanhSoftplus(x);
  }
};
struct MishGrad {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T g, T x) const {
    T t = tanhSoftplus(x);
    return g * (t + x * scalar::sigmoid(x) * (T(1) - t * t));
  }
};

/// Numbers: beta, and the value of beta * x from which the function is taken as linear.
struct Softplus {
  static constexpr bool floats = true;
  ANNEAL_HD explicit Softplus(const double* p) : beta(p[0]), threshold(p[1]) {}
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    T z = x * T(beta), curved = scalar::quotient(scalar::log1p(scalar::exp(z)), T(beta));
    return z > T(threshold) ? x : curved;
  }
  double beta, threshold;
};
struct SoftplusGrad {
  static constexpr bool floats = true;
  ANNEAL_HD explicit SoftplusGrad(const double* p) : beta(p[0]), threshold(p[1]) {}
  template <class T>
  ANNEAL_HD T operator()(T g, T x) const {
    T z = x * T(beta), curved = g * scalar::sigmoid(z);
    return z > T(threshold) ? g : curved;
  }
  double beta, threshold;
};

/// clamp(x + 3, 0, 6) / 6, which keeps NaN.
template <class T>
ANNEAL_HD T hardGate(T x) {
  T y = x + T(3);
  y = y < T(0) ? T(0) : y;
  return (y > T(6) ? T(6) : y) * T(1.0 / 6);
}
struct HardSigmoid {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return hardGate(x);
  }
};
struct HardSigmoidGrad {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T g, T x) const {
    return x > T(-3) && x < T(3) ? g * T(1.0 / 6) : T(0);
  }
};
struct HardSwish {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T x) const {
    return x * hardGate(x);
  }
};
struct HardSwishGrad {
  static constexpr bool floats = true;
  template <class T>
  ANNEAL_HD T operator()(T g, T x) const {
    T inside = g * (x * T(1.0 / 3) + T(0.5));
    return x <= T(-3) ? T(0) : (x < T(3) ? inside : g);
  }
};
/// Numbers: the bounds. At them the gradient is 0, unlike that of Clamp.
struct HardTanhGrad {
  static constexpr bool floats = true;
  ANNEAL_HD explicit HardTanhGrad(const double* p) : low(p[0]), high(p[1]) {}
  template <class T>
  ANNEAL_HD T operator()(T g, T x) const {
    return x > T(low) && x < T(high) ? g : T(0);
  }
  double low, high;
};

}  // namespace anneal::scalar
