#pragma once
#include "cpu/elementwise.h"
#include "op/define.h"
#include "op/infer.h"
#include "ops/creation.h"

namespace anneal::ops {

/// Elementwise: broadcast inputs, promoted dtype.
template <class A>
Specs inferMap(const Args<A>& c) {
  return {{broadcastAll(c.op, c.in), promoted(c.in)}};
}
/// Elementwise over floats: integers and bool become float32.
template <class A>
Specs inferFloatMap(const Args<A>& c) {
  return {{broadcastAll(c.op, c.in), toFloat(promoted(c.in))}};
}
/// Elementwise with a bool result.
template <class A>
Specs inferBoolMap(const Args<A>& c) {
  return {{broadcastAll(c.op, c.in), DType::Bool}};
}
/// Elementwise over integers and bool.
template <class A>
Specs inferIntegerMap(const Args<A>& c) {
  for (const Tensor& t : c.in)
    require(!isFloat(t.dtype()), Code::DType, c.op, ": expected integers or bool; got ", t.dtype());
  return inferMap(c);
}

/// Defines an elementwise op and its CPU kernel in one: the functor F says what it computes.
template <class F, class A = None>
Op<A> mapOp(Definition<A> d) {
  if (!d.infer) d.infer = requires {
      F::floats;
    }
  ? inferFloatMap<A> : inferMap<A>;
  d.anyStrides = d.overwrites = true;
  d.pointwise = cpu::pointwise<F, A>;
  Implement<A>(d.name, DeviceType::Cpu, cpu::mapKernel<F, A>);
  return Op<A>(std::move(d));
}

/// Defines an elementwise op with a bool result.
template <class F, class A = None>
Op<A> testOp(Definition<A> d) {
  d.infer = inferBoolMap<A>;
  d.nonDifferentiable = true;
  return mapOp<F, A>(std::move(d));
}

/// Defines the gradient of an activation as an op of its own: one pass over memory. It is lowered when it is
/// differentiated.
template <class F, class A = None>
Op<A> gradientOp(std::string name, std::string other, std::vector<Field> attrs,
                 std::type_identity_t<Tensors (*)(const Args<A>&)> lower) {
  return mapOp<F, A>({.name = std::move(name),
                      .doc = "The gradient `g` of the result carried back.",
                      .inputs = {"g", std::move(other)},
                      .attrs = std::move(attrs),
                      .lower = lower,
                      .method = false,
                      .internal = true});
}

}  // namespace anneal::ops
