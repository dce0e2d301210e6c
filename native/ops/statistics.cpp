#include <cmath>

#include "cpu/reduce.h"
#include "op/infer.h"
#include "op/precision.h"
#include "ops/arithmetic.h"
#include "ops/comparison.h"
#include "ops/creation.h"
#include "ops/logic.h"
#include "ops/reduce.h"

namespace anneal::ops {
namespace {

using cpu::Finish;
using cpu::Reducer;

template <class A>
Specs inferFloatReduction(const Args<A>& c) {
  const Spec& x = c.in[0].spec();
  return {
      {reducedShape(x.shape, reductionAxes(c.op, c.attrs.axis, x.shape.rank()), c.attrs.keepDims), toFloat(x.dtype)}};
}

double freedom(const Variance& attrs, const Shape& shape) {
  return std::max(0.0, double(reducedCount(attrs.axis, shape)) - attrs.correction);
}

template <Finish F>
void varianceCpu(const Call<Variance>& call) {
  const View& x = call.in[0];
  const Ints axes = reductionAxes("var", call.attrs.axis, x.shape.rank());
  const double n = double(reducedCount(call.attrs.axis, x.shape));
  std::vector<double> mean = cpu::reduceToDouble({Reducer::Sum, Finish::Scale, 1 / n}, x, axes);
  cpu::reduce({Reducer::SquaredDeviation, F, 1 / freedom(call.attrs, x.shape)}, x, axes, call.out[0], mean.data());
}
const Implement<Variance> varianceOnCpu("var", DeviceType::Cpu, varianceCpu<Finish::Scale>);
const Implement<Variance> deviationOnCpu("std", DeviceType::Cpu, varianceCpu<Finish::ScaledRoot>);

std::vector<Field> varianceFields() {
  return {
      field<&Variance::axis>("axis", "the axis or axes to reduce; negative ones count from the end; all when absent"),
      field<&Variance::correction>(
          "correction", "what is subtracted from the number of elements to divide by; 0: the biased estimate"),
      field<&Variance::keepDims>("keepDims", "keep the reduced axes with size 1")};
}

Tensor deviations(const Tensor& x, const Variance& attrs) {
  return sub(x, mean(x, {.axis = attrs.axis, .keepDims = true}));
}

Tensor spreadOver(const Tensor& reduced, const std::optional<Ints>& axis, const Tensor& x) {
  return spread(reduced, axis, x.shape());
}

double passes(const Variance&, std::span<const View> in, std::span<const View>) { return 2 * double(in[0].size()); }

void normCpu(const Call<Norm>& call) {
  const View& x = call.in[0];
  const Ints axes = reductionAxes("norm", call.attrs.axis, x.shape.rank());
  const double p = call.attrs.p;
  cpu::Reduction r{.reducer = Reducer::PowerSum, .finish = Finish::Power, .number = 1 / p};
  if (p == 2) r = {Reducer::SquareSum, Finish::ScaledRoot, 1};
  if (p == 1) r = {.reducer = Reducer::AbsSum};
  if (p == 0) r = {.reducer = Reducer::NonzeroCount};
  if (std::isinf(p)) r = {.reducer = p > 0 ? Reducer::AbsMax : Reducer::AbsMin};
  std::vector<double> powers;
  if (r.reducer == Reducer::PowerSum) powers.assign(size_t(call.out[0].size()), p);
  cpu::reduce(r, x, axes, call.out[0], powers.empty() ? nullptr : powers.data());
}
const Implement<Norm> normOnCpu("norm", DeviceType::Cpu, normCpu);

Specs inferNorm(const Args<Norm>& c) {
  Specs out = inferFloatReduction(c);
  require(!std::isnan(c.attrs.p), Code::Value, c.op, ": p must be a number; got NaN");
  require(!(std::isinf(c.attrs.p) || c.attrs.p < 0) || reducedCount(c.attrs.axis, c.in[0].shape()) > 0 ||
              out[0].size() == 0,
          Code::Shape, c.op, ": ", c.in[0].shape(), " has no elements to reduce; with p = ", c.attrs.p,
          " the result would be undefined");
  return out;
}

/// d|x|_p / dx = sign(x) (|x| / |x|_p)^(p-1), and 0 where the norm is 0.
Tensors normVjp(const Vjp<Norm>& v) {
  const Tensor& x = v.in();
  const double p = v.attrs.p;
  Tensor g = spreadOver(v.grad(), v.attrs.axis, x), y = spreadOver(v.out(), v.attrs.axis, x);
  if (p == 0) return {mul(g, number(0))};
  if (p == 1) return {mul(g, sign(x))};
  if (std::isinf(p)) {
    Tensor mask = cast(equal(abs(x), y), {.dtype = x.dtype()});
    Tensor count = sum(mask, {.axis = v.attrs.axis, .keepDims = true});
    return {div(mul(mul(g, sign(x)), mask), count)};
  }
  Tensor zero = equal(y, number(0));
  Tensor ratio = div(x, where(zero, number(1), y));
  if (p != 2) {
    Tensor still = equal(ratio, number(0));  // a power's own gradient is infinite there
    Tensor power = pow(where(still, number(1), abs(ratio)), number(p - 1));
    ratio = mul(sign(x), p > 1 ? where(still, number(0), power) : power);
  }
  return {mul(g, where(zero, number(0), ratio))};
}

}  // namespace

const Op<Variance> variance(
    {.name = "var",
     .doc = "The variance over `axis`: the sum of squared deviations from the mean, divided by the number of "
            "elements less `correction` (Bessel's by default).",
     .inputs = {"x"},
     .attrs = varianceFields(),
     .infer = inferFloatReduction<Variance>,
     .lower =
         [](const Args<Variance>& c) {
           Tensor x = cast(c.in[0], {.dtype = toFloat(c.in[0].dtype())}), d = deviations(x, c.attrs);
           Tensor total = sum(mul(d, d), {.axis = c.attrs.axis, .keepDims = c.attrs.keepDims});
           return Tensors{div(total, number(freedom(c.attrs, x.shape())))};
         },
     .vjp =
         [](const Vjp<Variance>& v) {
           const Tensor& x = v.in();
           Tensor g = mul(v.grad(), number(2 / freedom(v.attrs, x.shape())));
           return Tensors{mul(spreadOver(g, v.attrs.axis, x), deviations(x, v.attrs))};
         },
     .saves = kSaveInputs,
     .anyStrides = true,
     .cost = passes});

const Op<Variance> standardDeviation(
    {.name = "std",
     .doc = "The standard deviation over `axis`: the root of `var`. Its gradient is 0 where it is 0.",
     .inputs = {"x"},
     .attrs = varianceFields(),
     .infer = inferFloatReduction<Variance>,
     .vjp =
         [](const Vjp<Variance>& v) {
           const Tensor& x = v.in();
           Tensor zero = equal(v.out(), number(0));
           Tensor g = div(v.grad(), mul(where(zero, number(1), v.out()), number(freedom(v.attrs, x.shape()))));
           return Tensors{mul(spreadOver(where(zero, number(0), g), v.attrs.axis, x), deviations(x, v.attrs))};
         },
     .saves = {.inputs = {0}, .outputs = {0}},
     .anyStrides = true,
     .cost = passes});

const Op<Norm> norm(
    {.name = "norm",
     .doc = "The vector norm over `axis`, `sum(|x|^p)^(1/p)`: the largest or smallest |x| for p = Infinity or "
            "-Infinity, the number of elements that are not 0 for p = 0. The gradient is 0 where the norm is 0.",
     .inputs = {"x"},
     .attrs = {field<&Norm::p>("p", "the order"),
               field<&Norm::axis>("axis",
                                  "the axis or axes to reduce; negative ones count from the end; all when absent"),
               field<&Norm::keepDims>("keepDims", "keep the reduced axes with size 1")},
     .infer = inferNorm,
     .vjp = normVjp,
     .saves = {.inputs = {0}, .outputs = {0}},
     .anyStrides = true,
     .cost = [](const Norm& a, std::span<const View> in, std::span<const View>) {
       return (a.p == 2 || a.p == 1 ? 1 : 16) * double(in[0].size());
     }});

const ComputeIn precision(Precision::Full, {"var", "std", "norm"});

}  // namespace anneal::ops
