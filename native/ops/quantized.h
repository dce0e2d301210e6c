#pragma once
#include "cpu/int8.h"
#include "ops/conv.h"

namespace anneal::ops {

/// Inputs: x, an int8 weight [out, ...], its scale [out], a bias or none.
extern const Op<None> quantizedLinear;
extern const Op<Conv> quantizedConv1d, quantizedConv2d, quantizedConv3d;

/// What passes make of them where weights do not change. Inputs: x, weight, scale, plan or none, bias or none, residual
/// or none.
struct QuantizedInference : Conv {
  bool linear = false;
  cpu::Activation activation = cpu::Activation::None;
};
extern const Op<QuantizedInference> quantizedInference;

/// The order in which a kernel goes through int8 weights.
struct QuantizedPlan {
  int64_t groups = 1;
};
extern const Op<QuantizedPlan> quantizedPlan;
Spec planSpec(const Shape& weight, int64_t groups);

}  // namespace anneal::ops
