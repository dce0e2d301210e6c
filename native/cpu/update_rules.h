#pragma once
// The update rules of optimizers for one element, written once for every backend: `p` is the parameter, `g` its
// gradient, `s` the state; each gives the new parameter. Numbers that do not depend on the element are worked out by
// the constructor.
#include <algorithm>
#include <cmath>

#include "core/portable.h"

namespace anneal::rules {

/// Gradient descent.
struct Descent {
  static constexpr int states = 0;
  double lr, decay;
  template <class T>
  ANNEAL_HD T operator()(T p, T g, T*) const {
    return p - T(lr) * (g + T(decay) * p);
  }
};

/// Gradient descent with momentum (Sutskever et al., 2013, in PyTorch's form).
struct Sgd {
  static constexpr int states = 1;
  double lr, momentum, keep, decay;
  bool nesterov;
  template <class T>
  ANNEAL_HD T operator()(T p, T g, T* s) const {
    g += T(decay) * p;
    s[0] = T(momentum) * s[0] + T(keep) * g;
    return p - T(lr) * (nesterov ? g + T(momentum) * s[0] : s[0]);
  }
};

/// Adam (Kingma & Ba, 2015) and, with decoupled decay, AdamW (Loshchilov & Hutter, 2019).
struct Adam {
  static constexpr int states = 2;
  double stepSize, beta1, beta2, rootCorrection, eps, decay, shrink;
  template <class T>
  ANNEAL_HD T operator()(T p, T g, T* s) const {
    g += T(decay) * p;
    s[0] = T(beta1) * s[0] + T(1 - beta1) * g;
    s[1] = T(beta2) * s[1] + T(1 - beta2) * g * g;
    return T(shrink) * p - T(stepSize) * s[0] / (std::sqrt(s[1]) / T(rootCorrection) + T(eps));
  }
};

/// RMSprop (Tieleman & Hinton, 2012), with PyTorch's options to centre it and to add momentum.
struct RmsProp {
  static constexpr int states = 3;
  double lr, alpha, eps, momentum, decay;
  bool centered;
  template <class T>
  ANNEAL_HD T operator()(T p, T g, T* s) const {
    g += T(decay) * p;
    s[0] = T(alpha) * s[0] + T(1 - alpha) * g * g;
    s[1] = T(alpha) * s[1] + T(1 - alpha) * g;
    const T variance = centered ? s[0] - s[1] * s[1] : s[0];
    s[2] = T(momentum) * s[2] + g / (std::sqrt(variance) + T(eps));
    return p - T(lr) * s[2];
  }
};

/// Adagrad (Duchi et al., 2011).
struct Adagrad {
  static constexpr int states = 1;
  double lr, eps, decay;
  template <class T>
  ANNEAL_HD T operator()(T p, T g, T* s) const {
    g += T(decay) * p;
    s[0] += g * g;
    return p - T(lr) * g / (std::sqrt(s[0]) + T(eps));
  }
};

/// Adadelta (Zeiler, 2012).
struct Adadelta {
  static constexpr int states = 2;
  double lr, rho, eps, decay;
  template <class T>
  ANNEAL_HD T operator()(T p, T g, T* s) const {
    g += T(decay) * p;
    s[0] = T(rho) * s[0] + T(1 - rho) * g * g;
    const T delta = std::sqrt(s[1] + T(eps)) / std::sqrt(s[0] + T(eps)) * g;
    s[1] = T(rho) * s[1] + T(1 - rho) * delta * delta;
    return p - T(lr) * delta;
  }
};

/// Lion (Chen et al., 2023).
struct Lion {
  static constexpr int states = 1;
  double lr, beta1, beta2, shrink;
  template <class T>
  ANNEAL_HD T operator()(T p, T g, T* s) const {
    const T c = T(beta1) * s[0] + T(1 - beta1) * g;
    s[0] = T(beta2) * s[0] + T(1 - beta2) * g;
    const T sign = c > T(0) ? T(1) : (c < T(0) ? T(-1) : c);
    return T(shrink) * p - T(lr) * sign;
  }
};

/// The direction of LAMB (You et al., 2020), Adam's with decay; the step's length follows from norms of whole tensors.
struct LambDirection {
  static constexpr int states = 2;
  double beta1, beta2, correction1, correction2, eps, decay;
  template <class T>
  ANNEAL_HD T operator()(T p, T g, T* s) const {
    s[0] = T(beta1) * s[0] + T(1 - beta1) * g;
    s[1] = T(beta2) * s[1] + T(1 - beta2) * g * g;
    return s[0] / T(correction1) / (std::sqrt(s[1] / T(correction2)) + T(eps)) + T(decay) * p;
  }
};

}  // namespace anneal::rules
