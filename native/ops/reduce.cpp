#include "ops/reduce.h"

#include <cmath>

#include "cpu/elementwise.h"
#include "cpu/reduce.h"
#include "op/infer.h"
#include "op/precision.h"
#include "ops/arithmetic.h"
#include "ops/comparison.h"
#include "ops/creation.h"
#include "ops/join.h"
#include "ops/logic.h"
#include "ops/math.h"
#include "ops/scan.h"
#include "ops/views.h"
#include "runtime/context.h"

namespace anneal::ops {

Tensor spread(const Tensor& reduced, const std::optional<Ints>& axis, const Shape& shape) {
  Ints axes = reductionAxes("reduce", axis, shape.rank());
  return broadcastTo(reshape(reduced, {.shape = reducedShape(shape, axes, true).ints()}), {.shape = shape.ints()});
}

int64_t reducedCount(const std::optional<Ints>& axis, const Shape& shape) {
  int64_t n = 1;
  for (int64_t a : reductionAxes("reduce", axis, shape.rank())) n *= shape[int(a)];
  return n;
}

namespace {

using cpu::Reducer;

Specs inferTo(const Args<Reduce>& c, DType dtype) {
  const Shape& shape = c.in[0].shape();
  return {{reducedShape(shape, reductionAxes(c.op, c.attrs.axis, shape.rank()), c.attrs.keepDims), dtype}};
}
/// Integers and bool add up as int64.
Specs inferTotal(const Args<Reduce>& c) {
  return inferTo(c, isFloat(c.in[0].dtype()) ? c.in[0].dtype() : DType::Int64);
}
Specs inferFloat(const Args<Reduce>& c) { return inferTo(c, toFloat(c.in[0].dtype())); }
Specs inferExtremum(const Args<Reduce>& c) {
  Specs out = inferTo(c, c.in[0].dtype());
  require(reducedCount(c.attrs.axis, c.in[0].shape()) > 0 || out[0].size() == 0, Code::Shape, c.op, ": ",
          c.in[0].shape(), " has no elements to reduce; the result would be undefined");
  return out;
}

template <Reducer R, class A = Reduce>
void reduceCpu(const Call<A>& call) {
  const View& x = call.in[0];
  cpu::reduce({.reducer = R}, x, reductionAxes("reduce", call.attrs.axis, x.shape.rank()), call.out[0]);
}

void meanCpu(const Call<Reduce>& call) {
  const View& x = call.in[0];
  const double n = double(reducedCount(call.attrs.axis, x.shape));
  cpu::reduce({Reducer::Sum, cpu::Finish::Scale, 1 / n}, x, reductionAxes("mean", call.attrs.axis, x.shape.rank()),
              call.out[0]);
}

void logSumExpCpu(const Call<Reduce>& call) {
  const View &x = call.in[0], &out = call.out[0];
  const Ints axes = reductionAxes("logSumExp", call.attrs.axis, x.shape.rank());
  std::vector<double> top = cpu::reduceToDouble({.reducer = Reducer::Max}, x, axes);
  for (double& t : top)
    if (std::isinf(t)) t = 0;  // so that infinities are compared with a finite number
  std::vector<double> sum = cpu::reduceToDouble({.reducer = Reducer::ExpSum}, x, axes, top.data());
  for (size_t i = 0; i < sum.size(); ++i) sum[i] = top[i] + std::log(sum[i]);
  View values{.memory = reinterpret_cast<std::byte*>(sum.data()),
              .shape = {int64_t(sum.size())},
              .strides = {1},
              .dtype = DType::Float64};
  cpu::scatter(values.data(), DType::Float64, out, static_cast<std::byte*>(out.data()), 1, values.size());
}

const Implement<Reduce> onCpu[] = {{"sum", DeviceType::Cpu, reduceCpu<Reducer::Sum>},
                                   {"mean", DeviceType::Cpu, meanCpu},
                                   {"prod", DeviceType::Cpu, reduceCpu<Reducer::Prod>},
                                   {"max", DeviceType::Cpu, reduceCpu<Reducer::Max>},
                                   {"min", DeviceType::Cpu, reduceCpu<Reducer::Min>},
                                   {"any", DeviceType::Cpu, reduceCpu<Reducer::Any>},
                                   {"all", DeviceType::Cpu, reduceCpu<Reducer::All>},
                                   {"countNonzero", DeviceType::Cpu, reduceCpu<Reducer::NonzeroCount>},
                                   {"logSumExp", DeviceType::Cpu, logSumExpCpu}};

std::vector<Field> reduceFields() {
  return {field<&Reduce::axis>("axis", "the axis or axes to reduce; negative ones count from the end; all when absent"),
          field<&Reduce::keepDims>("keepDims", "keep the reduced axes with size 1")};
}

/// The gradient of a maximum or minimum, shared evenly between equal elements.
Tensors extremumVjp(const Vjp<Reduce>& v) {
  const Tensor& x = v.in();
  Tensor mask = cast(equal(x, spread(v.out(), v.attrs.axis, x.shape())), {.dtype = v.grad().dtype()});
  Tensor share = div(v.grad(), sum(mask, v.attrs));
  return {mul(spread(share, v.attrs.axis, x.shape()), mask)};
}

/// The gradient of the product over `axes` from that of its result, which has kept them. Over one axis the product is
/// the last of the running ones, whose gradient takes zeros as they come, in any order.
Tensor productGradient(const Tensor& x, Ints axes, const Tensor& grad) {
  if (axes.empty()) return grad;
  const int64_t axis = axes.back();
  axes.pop_back();
  Tensor inner = productGradient(prod(x, {.axis = Ints{axis}, .keepDims = true}), axes, grad);
  Ints before(size_t(2 * x.rank()));
  before[size_t(2 * axis)] = x.size(int(axis)) - 1;
  return cumprodGradient(x, cumprod(x, {.axis = axis}), pad(inner, {.padding = before}), axis);
}

/// Each element's gradient is the product of the others, which needs care where one of them is 0.
Tensors prodVjp(const Vjp<Reduce>& v) {
  const Tensor& x = v.in();
  const Ints axes = reductionAxes("prod", v.attrs.axis, x.rank());
  // What is faster below does not see how the products depend on the zeros.
  if (Context::current().gradEnabled && x.size() > 0)
    return {productGradient(x, axes, reshape(v.grad(), {.shape = reducedShape(x.shape(), axes, true).ints()}))};
  Tensor isZero = equal(x, number(0)), one = where(isZero, number(1), x);
  Tensor zeros = spread(sum(cast(isZero, {.dtype = x.dtype()}), v.attrs), v.attrs.axis, x.shape());
  Tensor others = div(spread(prod(one, v.attrs), v.attrs.axis, x.shape()), one);
  Tensor only = sub(zeros, cast(isZero, {.dtype = x.dtype()}));  // zeros among the others
  return {mul(spread(v.grad(), v.attrs.axis, x.shape()), where(equal(only, number(0)), others, number(0)))};
}

}  // namespace

const Op<Reduce> sum({.name = "sum",
                      .doc = "The sum over `axis`. Integers and bool are summed as int64; an empty sum is 0.",
                      .inputs = {"x"},
                      .attrs = reduceFields(),
                      .infer = inferTotal,
                      .vjp =
                          [](const Vjp<Reduce>& v) { return Tensors{spread(v.grad(), v.attrs.axis, v.in().shape())}; },
                      .anyStrides = true});

const Op<Reduce> mean({.name = "mean",
                       .doc = "The mean over `axis`. Integers and bool become float32; the mean of nothing is NaN.",
                       .inputs = {"x"},
                       .attrs = reduceFields(),
                       .infer = inferFloat,
                       .lower =
                           [](const Args<Reduce>& c) {
                             Tensor x = cast(c.in[0], {.dtype = toFloat(c.in[0].dtype())});
                             return Tensors{
                                 div(sum(x, c.attrs), number(double(reducedCount(c.attrs.axis, x.shape()))))};
                           },
                       .vjp =
                           [](const Vjp<Reduce>& v) {
                             const Shape& shape = v.in().shape();
                             Tensor share = mul(v.grad(), number(1 / double(reducedCount(v.attrs.axis, shape))));
                             return Tensors{spread(share, v.attrs.axis, shape)};
                           },
                       .anyStrides = true});

const Op<Reduce> prod(
    {.name = "prod",
     .doc = "The product over `axis`. Integers and bool are multiplied as int64; an empty product is 1.",
     .inputs = {"x"},
     .attrs = reduceFields(),
     .infer = inferTotal,
     .vjp = prodVjp,
     .saves = kSaveInputs,
     .anyStrides = true});

const Op<Reduce> max(
    {.name = "max",
     .doc = "The largest value over `axis`; NaN if there is one. The gradient is shared evenly between equal "
            "values. See `argmax` for the place.",
     .inputs = {"x"},
     .attrs = reduceFields(),
     .infer = inferExtremum,
     .vjp = extremumVjp,
     .saves = {.inputs = {0}, .outputs = {0}},
     .anyStrides = true});

const Op<Reduce> min(
    {.name = "min",
     .doc = "The smallest value over `axis`; NaN if there is one. The gradient is shared evenly between equal "
            "values. See `argmin` for the place.",
     .inputs = {"x"},
     .attrs = reduceFields(),
     .infer = inferExtremum,
     .vjp = extremumVjp,
     .saves = {.inputs = {0}, .outputs = {0}},
     .anyStrides = true});

const Op<Reduce> any({.name = "any",
                      .doc = "Whether any element over `axis` is not 0; false for none. NaN is not 0.",
                      .inputs = {"x"},
                      .attrs = reduceFields(),
                      .infer = [](const Args<Reduce>& c) { return inferTo(c, DType::Bool); },
                      .nonDifferentiable = true,
                      .anyStrides = true});

const Op<Reduce> all({.name = "all",
                      .doc = "Whether all elements over `axis` are not 0; true for none. NaN is not 0.",
                      .inputs = {"x"},
                      .attrs = reduceFields(),
                      .infer = [](const Args<Reduce>& c) { return inferTo(c, DType::Bool); },
                      .nonDifferentiable = true,
                      .anyStrides = true});

const Op<Reduce> countNonzero({.name = "countNonzero",
                               .doc = "How many elements over `axis` are not 0, as int64.",
                               .inputs = {"x"},
                               .attrs = reduceFields(),
                               .infer = [](const Args<Reduce>& c) { return inferTo(c, DType::Int64); },
                               .nonDifferentiable = true,
                               .anyStrides = true});

const Op<Reduce> logSumExp({.name = "logSumExp",
                            .doc = "`log(sum(exp(x)))` over `axis`, computed without overflow; -Infinity for nothing.",
                            .inputs = {"x"},
                            .attrs = reduceFields(),
                            .infer = inferFloat,
                            .vjp =
                                [](const Vjp<Reduce>& v) {
                                  const Shape& shape = v.in().shape();
                                  Tensor p = exp(sub(v.in(), spread(v.out(), v.attrs.axis, shape)));
                                  return Tensors{mul(spread(v.grad(), v.attrs.axis, shape), p)};
                                },
                            .saves = {.inputs = {0}, .outputs = {0}},
                            .anyStrides = true,
                            .cost = [](const Reduce&, std::span<const View> in,
                                       std::span<const View>) { return 8 * double(in[0].size()); }});

const Op<SumTo> sumTo(
    {.name = "sumTo",
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

const ComputeIn precision(Precision::Full, {"sum", "mean", "prod", "logSumExp"});

}  // namespace anneal::ops
