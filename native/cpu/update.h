#pragma once
#include <cmath>
#include <span>

#include "cpu/update_rules.h"
#include "runtime/task.h"

namespace anneal::cpu {

/// What is done to a gradient before the rule: it is limited to [-limit, limit] and then multiplied by `scale`.
struct Clip {
  double scale = 1, limit = INFINITY;
};

/// Applies a rule to many tensors at once. `in` holds blocks of n views each: parameters, gradients, then the rule's
/// states; `out` holds new parameters and new states, which may lie in the same memory. 16-bit parameters are computed
/// in float.
void update(const rules::Descent& rule, const Clip& clip, std::span<const View> in, std::span<const View> out);
void update(const rules::Sgd& rule, const Clip& clip, std::span<const View> in, std::span<const View> out);
void update(const rules::Adam& rule, const Clip& clip, std::span<const View> in, std::span<const View> out);
void update(const rules::RmsProp& rule, const Clip& clip, std::span<const View> in, std::span<const View> out);
void update(const rules::Adagrad& rule, const Clip& clip, std::span<const View> in, std::span<const View> out);
void update(const rules::Adadelta& rule, const Clip& clip, std::span<const View> in, std::span<const View> out);
void update(const rules::Lion& rule, const Clip& clip, std::span<const View> in, std::span<const View> out);
/// Like these, but the first block of `out` gets the direction instead of new parameters.
void update(const rules::LambDirection& rule, const Clip& clip, std::span<const View> in, std::span<const View> out);

}  // namespace anneal::cpu
