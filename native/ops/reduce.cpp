#include "ops/reduce.h"

#include "cpu/reduce.h"
#include "op/infer.h"
#include "ops/arithmetic.h"
#include "ops/views.h"

namespace anneal::ops {
namespace {

Specs inferSum(const Args<Reduce>& c) {
  const Spec& x = c.in[0].spec();
  Ints axes = reductionAxes(c.op, c.attrs.axis, x.shape.rank());
  return {{reducedShape(x.shape, axes, c.attrs.keepDims), isFloat(x.dtype) ? x.dtype : DType::Int64}};
}

/// A reduction's gradient spread over its input: the reduced axes come back with size 1, then broadcast.
Tensor spread(const Tensor& grad, const Reduce& attrs, const Shape& shape) {
  Ints axes = reductionAxes("sum", attrs.axis, shape.rank());
  return broadcastTo(reshape(grad, {.shape = reducedShape(shape, axes, true).ints()}), {.shape = shape.ints()});
}

void sumCpu(const Call<Reduce>& call) {
  Ints axes = reductionAxes("sum", call.attrs.axis, call.in[0].shape.rank());
  cpu::reduce({.reducer = cpu::Reducer::Sum}, call.in[0], axes, call.out[0]);
}
const Implement<Reduce> sumOnCpu("sum", DeviceType::Cpu, sumCpu);

}  // namespace

const Op<Reduce> sum({.name = "sum",
                      .doc = "The sum over `axis` (all axes when absent). Integers and bool are summed as int64; an empty sum is 0.",
                      .inputs = {"x"},
                      .attrs = {field<&Reduce::axis>("axis", "the axes to reduce; negative ones count from the end"),
                                field<&Reduce::keepDims>("keepDims", "keep the reduced axes with size 1")},
                      .infer = inferSum,
                      .vjp = [](const Vjp<Reduce>& v) { return Tensors{spread(v.grad(), v.attrs, v.in().shape())}; },
                      .anyStrides = true});

const Op<SumTo> sumTo({.name = "sumTo",
                       .doc = "`x` summed over the axes along which a tensor of `shape` would be broadcast to it: the "
                              "gradient of broadcasting.",
                       .inputs = {"x"},
                       .attrs = {required<&SumTo::shape>("shape", "the shape of the result; it broadcasts to that of `x`")},
                       .lower = [](const Args<SumTo>& c) {
                         const Shape &from = c.in[0].shape(), to(c.attrs.shape);
                         require(broadcast(c.op, from, to) == from, Code::Shape, c.op, ": ", to, " does not broadcast to ", from);
                         Ints axes;
                         int lead = from.rank() - to.rank();
                         for (int i = 0; i < from.rank(); ++i)
                           if (i < lead || (to[i - lead] == 1 && from[i] != 1)) axes.push_back(i);
                         Tensor y = axes.empty() ? c.in[0] : sum(c.in[0], {.axis = axes, .keepDims = true});
                         return Tensors{reshape(y, {.shape = to.ints()})};
                       }});

}  // namespace anneal::ops
