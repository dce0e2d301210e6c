#pragma once
#include "cpu/elementwise.h"
#include "op/define.h"
#include "op/infer.h"

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

/// Defines an elementwise op and its CPU kernel in one: the functor F says what it computes.
template <class F, class A = None>
Op<A> mapOp(Definition<A> d) {
  if (!d.infer) d.infer = requires { F::floats; } ? inferFloatMap<A> : inferMap<A>;
  d.anyStrides = true;
  Implement<A>(d.name, DeviceType::Cpu, cpu::mapKernel<F, A>);
  return Op<A>(std::move(d));
}

}  // namespace anneal::ops
