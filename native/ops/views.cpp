#include "ops/views.h"

#include "op/infer.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "runtime/context.h"

namespace anneal::ops {
namespace {

Shape resolveShape(const std::string& op, const Tensor& x, const Ints& wanted) {
  Shape shape(wanted);
  int unknown = -1;
  int64_t known = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    require(shape[i] >= -1 && (shape[i] != -1 || unknown < 0), Code::Shape, op, ": sizes must be 0 or more, with at most one -1; got ", wanted);
    if (shape[i] == -1) unknown = i;
    else known *= shape[i];
  }
  if (unknown >= 0) {
    require(known != 0 && x.size() % known == 0, Code::Shape, op, ": ", x.shape(), " has ", x.size(), " elements, which ", wanted, " does not divide");
    shape[unknown] = x.size() / known;
  }
  require(shape.product() == x.size(), Code::Shape, op, ": ", x.shape(), " has ", x.size(), " elements, ", shape, " has ", shape.product());
  return shape;
}

Tensor reshapeView(const Args<ToShape>& c) {
  GradMode off(false);  // a copy made on the way is not a record of its own
  Shape shape = resolveShape(c.op, c.in[0], c.attrs.shape);
  Tensor x = c.in[0].contiguous() ? c.in[0] : contiguous(c.in[0]);
  return x.alias(shape, contiguousStrides(shape), x.impl()->offset);
}

Tensor broadcastView(const Args<ToShape>& c) {
  const Tensor& x = c.in[0];
  Shape shape(c.attrs.shape);
  checkShape(c.op, shape);
  require(broadcast(c.op, x.shape(), shape) == shape, Code::Shape, c.op, ": ", x.shape(), " does not broadcast to ", shape);
  return x.alias(shape, broadcastStrides(x.shape(), x.strides(), shape), x.impl()->offset);
}

Tensor permuteView(const Args<Axes>& c) {
  const Tensor& x = c.in[0];
  require(int(c.attrs.axes.size()) == x.rank(), Code::Shape, c.op, ": ", x.shape(), " needs ", x.rank(), " axes; got ", c.attrs.axes);
  Ints axes = reductionAxes(c.op, c.attrs.axes, x.rank());  // checks that each occurs once
  Shape shape;
  Strides strides;
  for (int64_t a : c.attrs.axes) {
    int axis = resolveAxis(c.op, a, x.rank());
    shape.push(x.shape()[axis]);
    strides.push(x.strides()[axis]);
  }
  return x.alias(shape, strides, x.impl()->offset);
}

}  // namespace

const Op<ToShape> reshape({.name = "reshape",
                           .doc = "The elements of `x`, in row-major order, in another shape. Shares memory where `x` is contiguous.",
                           .inputs = {"x"},
                           .attrs = {required<&ToShape::shape>("shape", "the sizes; one may be -1, for what remains")},
                           .view = reshapeView,
                           .vjp = [](const Vjp<ToShape>& v) { return Tensors{reshape(v.grad(), {.shape = v.in().shape().ints()})}; }});

const Op<ToShape> broadcastTo({.name = "broadcastTo",
                               .doc = "`x` repeated along axes of size 1 and new leading axes, without copying.",
                               .inputs = {"x"},
                               .attrs = {required<&ToShape::shape>("shape", "the shape of the result")},
                               .view = broadcastView,
                               .vjp = [](const Vjp<ToShape>& v) { return Tensors{sumTo(v.grad(), {.shape = v.in().shape().ints()})}; }});

const Op<Axes> permute({.name = "permute",
                        .doc = "The axes of `x` in another order, without copying.",
                        .inputs = {"x"},
                        .attrs = {required<&Axes::axes>("axes", "for each axis of the result, the axis of `x`")},
                        .view = permuteView,
                        .vjp = [](const Vjp<Axes>& v) {
                          Ints inverse(v.attrs.axes.size());
                          int rank = int(inverse.size());
                          for (int i = 0; i < rank; ++i) inverse[size_t(resolveAxis("permute", v.attrs.axes[size_t(i)], rank))] = i;
                          return Tensors{permute(v.grad(), {.axes = inverse})};
                        }});

}  // namespace anneal::ops
