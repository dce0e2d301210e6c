#include <limits>

#include "op/precision.h"
#include "ops/norm_parts.h"

namespace anneal::ops {
namespace {

/// The trailing axes that are normalised.
Shape rowShape(const std::string& op, const Shape& x, int64_t axes) {
  require(axes >= 1 && axes <= x.rank(), Code::Value, op, ": axes must be 1 to ", x.rank(), " for the input ", x,
          "; got ", axes);
  return x.slice(x.rank() - int(axes), x.rank());
}

cpu::NormRows rowsOf(const NormalizeRows& a, const Shape& x) {
  const int rank = x.rank(), axes = int(a.axes);
  return {.rows = x.slice(0, rank - axes).product(),
          .size = x.slice(rank - axes, rank).product(),
          .eps = a.eps,
          .centered = a.centered};
}

NormalizeRows rowsAttrs(const LayerNorm& a, DType) { return normalizedRows(a); }
NormalizeRows rowsAttrs(const RmsNorm& a, DType dtype) { return normalizedRows(a, dtype); }

template <class A>
Specs inferRows(const Args<A>& c) {
  checkInput(c.op, c.in[0], 1);
  const Shape shape = rowShape(c.op, c.in[0].shape(), c.attrs.axes);
  checkParameter(c.op, "weight", c.in[1], shape);
  if (c.in.size() > 2) checkParameter(c.op, "bias", c.in[2], shape);
  return {c.in[0].spec()};
}

template <class A>
Tensors rowsVjp(const Vjp<A>& v) {
  Tensors grads = normalizeRowsGradient.all(Tensors{v.grad(), v.in(0), v.in(1)}, rowsAttrs(v.attrs, v.in(0).dtype()));
  grads.resize(v.inputs());  // without that of a bias where there is none
  return grads;
}

template <class A>
void rowsCpu(const Call<A>& c) {
  const View bias = c.in.size() > 2 ? c.in[2] : View{.defined = false};
  normalizeRowsCpu(rowsAttrs(c.attrs, c.in[0].dtype), c.in[0], c.in[1], bias, c.out[0], nullptr);
}
const Implement<LayerNorm> layerNormOnCpu("layerNorm", DeviceType::Cpu, rowsCpu<LayerNorm>);
const Implement<RmsNorm> rmsNormOnCpu("rmsNorm", DeviceType::Cpu, rowsCpu<RmsNorm>);

Specs inferRowsGradient(const Args<NormalizeRows>& c) {
  const Tensor &grad = c.in[0], &x = c.in[1];
  checkInput(c.op, x, 1);
  require(grad.spec() == x.spec(), Code::Shape, c.op, ": the gradient ", grad, " must be like the input ", x);
  const Shape shape = rowShape(c.op, x.shape(), c.attrs.axes);
  checkParameter(c.op, "weight", c.in[2], shape);
  const Spec parameter{shape, statisticsType(x.dtype())};
  return {x.spec(), parameter, parameter};
}

Tensors lowerRowsGradient(const Args<NormalizeRows>& c) {
  const Tensor& given = c.in[1];
  const cpu::NormRows n = rowsOf(c.attrs, given.shape());
  const ToShape flat{.shape = {n.rows, n.size}};
  const Reduce over{.axis = Ints{1}, .keepDims = true};
  const Tensor grad = reshape(inStatisticsType(c.in[0], given.dtype()), flat);
  Tensor x = reshape(inStatisticsType(given, given.dtype()), flat);
  if (n.centered) x = sub(x, mean(x, over));
  const Tensor scale = inverseRoot(mean(mul(x, x), over), n.eps), normal = mul(x, scale);
  Tensor weighted = grad;
  if (c.in[2]) weighted = mul(grad, reshape(inStatisticsType(c.in[2], given.dtype()), {.shape = {1, n.size}}));
  const Tensor dx = reshape(normGradient(weighted, normal, scale, {1}, n.centered), {.shape = given.shape().ints()});
  const ToShape parameter{.shape = rowShape(c.op, given.shape(), c.attrs.axes).ints()};
  return {dx.dtype() == given.dtype() ? dx : cast(dx, {.dtype = given.dtype()}),
          reshape(sum(mul(grad, normal), {.axis = Ints{0}}), parameter),
          reshape(sum(grad, {.axis = Ints{0}}), parameter)};
}

const Implement<NormalizeRows> rowsGradientOnCpu("normalizeRowsGradient", DeviceType::Cpu,
                                                 [](const Call<NormalizeRows>& c) { rowsGradientCpu(c, nullptr); });

}  // namespace

NormalizeRows normalizedRows(const LayerNorm& a) { return {.axes = a.axes, .eps = a.eps, .centered = true}; }
NormalizeRows normalizedRows(const RmsNorm& a, DType dtype) {
  const double epsilon =
      dtype == DType::Float64 ? std::numeric_limits<double>::epsilon() : double(std::numeric_limits<float>::epsilon());
  return {.axes = a.axes, .eps = a.eps.value_or(epsilon), .centered = false};
}

void normalizeRowsCpu(const NormalizeRows& a, const View& x, const View& weight, const View& bias, const View& y,
                      const cpu::BlockWork* before) {
  cpu::normalizeRows(rowsOf(a, x.shape), x, weight, bias, y, before);
}

void rowsGradientCpu(const Call<NormalizeRows>& c, const cpu::BlockWork* then) {
  cpu::rowsGradient(rowsOf(c.attrs, c.in[1].shape), c.in[0], c.in[1], c.in[2], c.out[0], c.out[1], c.out[2], then);
}

const Op<LayerNorm> layerNorm({.name = "layerNorm",
                               .doc = "Layer normalisation (Ba et al., 2016) over the last axes of `x`: (x - mean) / "
                                      "sqrt(variance + eps) * weight + bias, where `weight` and "
                                      "`bias` have the shape of those axes.",
                               .inputs = {"x", "weight?", "bias?"},
                               .attrs = {field<&LayerNorm::axes>("axes",
                                                                 "how many of the last axes are normalised together"),
                                         field<&LayerNorm::eps>("eps", "added to the variance")},
                               .infer = inferRows<LayerNorm>,
                               .vjp = rowsVjp<LayerNorm>,
                               .saves = {.inputs = {0, 1}}});

const Op<RmsNorm> rmsNorm(
    {.name = "rmsNorm",
     .doc = "Root-mean-square normalisation (Zhang and Sennrich, 2019) over the last axes of `x`: x / sqrt(mean(x * x) "
            "+ eps) * weight, where `weight` has "
            "the shape of those axes.",
     .inputs = {"x", "weight?"},
     .attrs = {field<&RmsNorm::axes>("axes", "how many of the last axes are normalised together"),
               field<&RmsNorm::eps>(
                   "eps",
                   "added to the mean square; the machine epsilon of float32, or float64 for float64, when absent")},
     .infer = inferRows<RmsNorm>,
     .vjp = rowsVjp<RmsNorm>,
     .saves = {.inputs = {0, 1}}});

const Op<NormalizeRows> normalizeRowsGradient(
    {.name = "normalizeRowsGradient",
     .doc = "The gradients of `layerNorm` or, not centered, `rmsNorm` with respect to input, weight and bias.",
     .inputs = {"grad", "x", "weight?"},
     .attrs = {required<&NormalizeRows::axes>("axes", "how many of the last axes are normalised together"),
               required<&NormalizeRows::eps>("eps", "added to the variance"),
               required<&NormalizeRows::centered>("centered", "whether the mean was subtracted")},
     .outputs = {"x", "weight", "bias"},
     .infer = inferRowsGradient,
     .lower = lowerRowsGradient,
     .internal = true});

const ComputeIn precision(Precision::Full, {"layerNorm", "rmsNorm"});

}  // namespace anneal::ops
