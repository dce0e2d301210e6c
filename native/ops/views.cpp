#include "ops/views.h"

#include "cpu/copy.h"
#include "op/infer.h"
#include "ops/reduce.h"
#include "runtime/context.h"

namespace anneal::ops {
namespace {

Shape resolveShape(const std::string& op, const Tensor& x, const Ints& wanted) {
  Shape shape(wanted);
  int unknown = -1;
  for (int i = 0; i < shape.rank(); ++i) {
    require(shape[i] >= -1 && (shape[i] != -1 || unknown < 0), Code::Shape, op,
            ": sizes must be 0 or more, with at most one -1; got ", wanted);
    if (shape[i] == -1) shape[unknown = i] = 1;
  }
  checkShape(op, shape);
  if (unknown >= 0) {
    const int64_t known = shape.product();
    require(known != 0 && x.size() % known == 0, Code::Shape, op, ": ", x.shape(), " has ", x.size(),
            " elements, which ", wanted, " does not divide");
    shape[unknown] = x.size() / known;
  }
  require(shape.product() == x.size(), Code::Shape, op, ": ", x.shape(), " has ", x.size(), " elements, ", shape,
          " has ", shape.product(), wanted.size() == 1 ? "; all sizes go into one array, such as [2, 3]" : "");
  return shape;
}

/// Strides that see memory of `from` and `strides` as `to`, or none where the elements do not lie that way: each run of
/// axes that holds as many elements on both sides must be contiguous in itself.
std::optional<Strides> viewStrides(const Shape& from, const Strides& strides, const Shape& to) {
  if (from.product() == 0) return contiguousStrides(to);
  Strides out = Dims::filled(to.rank(), 1);
  int next = to.rank() - 1;
  for (int i = from.rank() - 1; i >= 0;) {
    int64_t step = strides[i], run = from[i--];
    while (i >= 0 && (from[i] == 1 || run == 1 || strides[i] == step * run)) {
      if (run == 1) step = strides[i];
      run *= from[i--];
    }
    for (int64_t covered = 1; next >= 0 && (covered < run || to[next] == 1); --next) {
      covered *= to[next];
      if (run % covered != 0) return std::nullopt;
      out[next] = step * (covered / to[next]);
    }
  }
  return out;
}

Tensor reshapeView(const Args<ToShape>& c) {
  GradMode off(false);  // a copy made on the way is not a record of its own
  const Tensor& x = c.in[0];
  Shape shape = resolveShape(c.op, x, c.attrs.shape);
  if (auto strides = viewStrides(x.shape(), x.strides(), shape)) return x.alias(shape, *strides, x.impl()->offset);
  return contiguous(x).alias(shape, contiguousStrides(shape), 0);
}

Tensor broadcastView(const Args<ToShape>& c) {
  const Tensor& x = c.in[0];
  Shape shape(c.attrs.shape);
  checkShape(c.op, shape);
  require(broadcast(c.op, x.shape(), shape) == shape, Code::Shape, c.op, ": ", x.shape(), " does not broadcast to ",
          shape);
  return x.alias(shape, broadcastStrides(x.shape(), x.strides(), shape), x.impl()->offset);
}

Tensor permuteView(const Args<Permute>& c) {
  const Tensor& x = c.in[0];
  require(int(c.attrs.axes.size()) == x.rank(), Code::Shape, c.op, ": ", x.shape(), " needs ", x.rank(), " axes; got ",
          c.attrs.axes);
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

Tensor transposeView(const Args<Transpose>& c) {
  const Tensor& x = c.in[0];
  int a = resolveAxis(c.op, c.attrs.axisA, x.rank()), b = resolveAxis(c.op, c.attrs.axisB, x.rank());
  Shape shape = x.shape();
  Strides strides = x.strides();
  std::swap(shape[a], shape[b]);
  std::swap(strides[a], strides[b]);
  return x.alias(shape, strides, x.impl()->offset);
}

Tensor moveAxisView(const Args<MoveAxis>& c) {
  const Tensor& x = c.in[0];
  int from = resolveAxis(c.op, c.attrs.from, x.rank()), to = resolveAxis(c.op, c.attrs.to, x.rank());
  Shape shape = x.shape();
  Strides strides = x.strides();
  int64_t size = shape[from], stride = strides[from];
  shape.erase(from);
  shape.insert(to, size);
  strides.erase(from);
  strides.insert(to, stride);
  return x.alias(shape, strides, x.impl()->offset);
}

Shape flattenedShape(const Args<Flatten>& c) {
  const Shape& shape = c.in[0].shape();
  if (shape.rank() == 0) return {1};
  int start = resolveAxis(c.op, c.attrs.startAxis, shape.rank()),
      end = resolveAxis(c.op, c.attrs.endAxis, shape.rank());
  require(start <= end, Code::Value, c.op, ": startAxis ", c.attrs.startAxis, " comes after endAxis ", c.attrs.endAxis);
  Shape out = shape.slice(0, start);
  out.push(shape.slice(start, end + 1).product());
  for (int i = end + 1; i < shape.rank(); ++i) out.push(shape[i]);
  return out;
}

Tensor squeezeView(const Args<Squeeze>& c) {
  const Tensor& x = c.in[0];
  Ints axes = reductionAxes(c.op, c.attrs.axis, x.rank());
  Shape shape;
  Strides strides;
  for (int i = 0; i < x.rank(); ++i) {
    bool named = std::find(axes.begin(), axes.end(), i) != axes.end();
    require(!named || !c.attrs.axis || x.shape()[i] == 1, Code::Shape, c.op, ": axis ", i, " of ", x.shape(),
            " has size ", x.shape()[i], "; only axes of size 1 can be dropped");
    if (named && x.shape()[i] == 1) continue;
    shape.push(x.shape()[i]);
    strides.push(x.strides()[i]);
  }
  return x.alias(shape, strides, x.impl()->offset);
}

Tensor expandView(const Args<ExpandDims>& c) {
  const Tensor& x = c.in[0];
  int axis = resolveAxis(c.op, c.attrs.axis, x.rank() + 1);
  Shape shape = x.shape();
  Strides strides = x.strides();
  shape.insert(axis, 1);
  strides.insert(axis, 1);
  return x.alias(shape, strides, x.impl()->offset);
}

template <class A>
Tensors reshapeBack(const Vjp<A>& v) {
  return {reshape(v.grad(), {.shape = v.in().shape().ints()})};
}

void contiguousCpu(const Call<None>& call) { cpu::copy(call.in[0], call.out[0]); }
const Implement<None> contiguousOnCpu("contiguous", DeviceType::Cpu, contiguousCpu);

}  // namespace

const Op<ToShape> reshape(
    {.name = "reshape",
     .doc =
         "The elements of `x`, in row-major order, in another shape. Shares memory where the strides of `x` allow it.",
     .inputs = {"x"},
     .attrs = {required<&ToShape::shape>("shape", "the sizes; one may be -1, for what remains")},
     .view = reshapeView,
     .vjp = reshapeBack<ToShape>});

const Op<ToShape> broadcastTo({.name = "broadcastTo",
                               .doc = "`x` repeated along axes of size 1 and new leading axes, without copying.",
                               .inputs = {"x"},
                               .attrs = {required<&ToShape::shape>("shape", "the shape of the result")},
                               .view = broadcastView,
                               .vjp = [](const Vjp<ToShape>& v) {
                                 return Tensors{sumTo(v.grad(), {.shape = v.in().shape().ints()})};
                               }});

const Op<Permute> permute({.name = "permute",
                           .doc = "The axes of `x` in another order, without copying.",
                           .inputs = {"x"},
                           .attrs = {required<&Permute::axes>("axes", "for each axis of the result, the axis of `x`")},
                           .view = permuteView,
                           .vjp = [](const Vjp<Permute>& v) {
                             Ints inverse(v.attrs.axes.size());
                             int rank = int(inverse.size());
                             for (int i = 0; i < rank; ++i)
                               inverse[size_t(resolveAxis("permute", v.attrs.axes[size_t(i)], rank))] = i;
                             return Tensors{permute(v.grad(), {.axes = inverse})};
                           }});

const Op<Transpose> transpose({.name = "transpose",
                               .doc = "`x` with two axes swapped, without copying.",
                               .inputs = {"x"},
                               .attrs = {required<&Transpose::axisA>("axisA",
                                                                     "one axis; negative ones count from the end"),
                                         required<&Transpose::axisB>("axisB", "the other axis")},
                               .view = transposeView,
                               .vjp = [](const Vjp<Transpose>& v) { return Tensors{transpose(v.grad(), v.attrs)}; }});

const Op<MoveAxis> moveAxis(
    {.name = "moveAxis",
     .doc = "`x` with one axis moved to another place, the others keeping their order, without copying.",
     .inputs = {"x"},
     .attrs = {required<&MoveAxis::from>("from", "the axis to move; negative ones count from the end"),
               required<&MoveAxis::to>("to", "its place in the result")},
     .view = moveAxisView,
     .vjp = [](const Vjp<MoveAxis>& v) {
       return Tensors{moveAxis(v.grad(), {.from = v.attrs.to, .to = v.attrs.from})};
     }});

const Op<Flatten> flatten(
    {.name = "flatten",
     .doc = "`x` with the axes from `startAxis` to `endAxis` joined into one; a scalar becomes [1]. Shares "
            "memory where the strides of `x` allow it.",
     .inputs = {"x"},
     .attrs = {field<&Flatten::startAxis>("startAxis", "the first axis to join"),
               field<&Flatten::endAxis>("endAxis", "the last axis to join, included")},
     .view =
         [](const Args<Flatten>& c) {
           ToShape to{.shape = flattenedShape(c).ints()};
           return reshapeView({to, c.in, c.op});
         },
     .vjp = reshapeBack<Flatten>});

const Op<Squeeze> squeeze({.name = "squeeze",
                           .doc = "`x` without its axes of size 1: all of them, or those of `axis`. Shares memory.",
                           .inputs = {"x"},
                           .attrs = {field<&Squeeze::axis>("axis", "the axes to drop; each must have size 1")},
                           .view = squeezeView,
                           .vjp = reshapeBack<Squeeze>});

const Op<ExpandDims> expandDims({.name = "expandDims",
                                 .doc = "`x` with a new axis of size 1. Shares memory.",
                                 .inputs = {"x"},
                                 .attrs = {required<&ExpandDims::axis>(
                                     "axis",
                                     "the place of the new axis; negative ones count from the end of the result")},
                                 .view = expandView,
                                 .vjp = reshapeBack<ExpandDims>});

const Op<None> contiguous({.name = "contiguous",
                           .doc = "A copy of `x` in row-major order.",
                           .inputs = {"x"},
                           .infer = [](const Args<None>& c) { return Specs{c.in[0].spec()}; },
                           .vjp = [](const Vjp<None>& v) { return Tensors{v.grad()}; },
                           .anyStrides = true});

}  // namespace anneal::ops
