#pragma once
#include "cpu/update_rules.h"
#include "ops/optimizers.h"

namespace anneal::ops {

// The rule for the elements from an update's settings, the learning rate and the number of the step, from 1.

ANNEAL_HD inline rules::Descent ruleOf(const DescentUpdate& a, double lr, double) { return {lr, a.weightDecay}; }

/// The first step takes the gradient undamped for the momentum, as PyTorch does.
ANNEAL_HD inline rules::Sgd ruleOf(const SgdUpdate& a, double lr, double step) {
  return {lr, a.momentum, step <= 1 ? 1 : 1 - a.dampening, a.weightDecay, a.nesterov};
}

ANNEAL_HD inline rules::Adam ruleOf(const AdamUpdate& a, double lr, double step) {
  return {.stepSize = lr / (1 - std::pow(a.beta1, step)),
          .beta1 = a.beta1,
          .beta2 = a.beta2,
          .rootCorrection = std::sqrt(1 - std::pow(a.beta2, step)),
          .eps = a.eps,
          .decay = a.decoupled ? 0 : a.weightDecay,
          .shrink = a.decoupled ? 1 - lr * a.weightDecay : 1};
}

ANNEAL_HD inline rules::RmsProp ruleOf(const RmsPropUpdate& a, double lr, double) {
  return {lr, a.alpha, a.eps, a.momentum, a.weightDecay, a.centered};
}

ANNEAL_HD inline rules::Adagrad ruleOf(const AdagradUpdate& a, double lr, double step) {
  return {lr / (1 + (step - 1) * a.lrDecay), a.eps, a.weightDecay};
}

ANNEAL_HD inline rules::Adadelta ruleOf(const AdadeltaUpdate& a, double lr, double) {
  return {lr, a.rho, a.eps, a.weightDecay};
}

ANNEAL_HD inline rules::Lion ruleOf(const LionUpdate& a, double lr, double) {
  return {lr, a.beta1, a.beta2, 1 - lr * a.weightDecay};
}

ANNEAL_HD inline rules::LambDirection ruleOf(const LambUpdate& a, double, double step) {
  return {a.beta1, a.beta2, 1 - std::pow(a.beta1, step), 1 - std::pow(a.beta2, step), a.eps, a.weightDecay};
}

}  // namespace anneal::ops
