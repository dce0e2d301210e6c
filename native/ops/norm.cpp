#include "ops/norm.h"

#include "ops/norm_parts.h"

namespace anneal::ops {
namespace {

cpu::NormColumns columnsOf(const NormalizeGroups& a, const Shape& x) {
  const int64_t channels = x.back(), pixels = x.slice(0, x.rank() - 1).product();
  const int64_t segments = a.wholeBatch ? 1 : x[0];
  return {.segments = segments,
          .rows = segments ? pixels / segments : 0,
          .channels = channels,
          .groups = a.groups,
          .eps = a.eps};
}

void checkGroups(const std::string& op, const NormalizeGroups& a, const Tensor& x) {
  checkInput(op, x, 2);
  const int64_t channels = x.shape().back();
  require(a.groups >= 1 && channels >= 1 && channels % a.groups == 0, Code::Value, op, ": groups = ", a.groups,
          " must divide the ", channels, " channels");
}

Shape statisticsShape(const NormalizeGroups& a, const Shape& x) { return {a.wholeBatch ? 1 : x[0], a.groups}; }

/// Checks input, weight and bias.
void checkInputs(const std::string& op, const NormalizeGroups& a, Inputs in) {
  checkGroups(op, a, in[0]);
  checkParameter(op, "weight", in[1], {in[0].shape().back()});
  checkParameter(op, "bias", in[2], {in[0].shape().back()});
}

/// What the public op `op` is made of, with its name in messages.
Tensors normalizedGroups(const std::string& op, const NormalizeGroups& a, Inputs in) {
  checkInputs(op, a, in);
  return {normalizeGroups(in[0], in[1], in[2], a)};
}

Specs inferNormalizeGroups(const Args<NormalizeGroups>& c) {
  const Tensor& x = c.in[0];
  checkInputs(c.op, c.attrs, c.in);
  const Spec statistics{statisticsShape(c.attrs, x.shape()), statisticsType(x.dtype())};
  return {x.spec(), statistics, statistics};
}

/// x as [segments, rows, groups, channels of a group].
Tensor grouped(const Tensor& x, const cpu::NormColumns& n) {
  return reshape(x, {.shape = {n.segments, n.rows, n.groups, n.perGroup()}});
}
/// Statistics as they broadcast with that.
Tensor spreadGroups(const Tensor& s, const cpu::NormColumns& n) {
  return reshape(s, {.shape = {n.segments, 1, n.groups, 1}});
}

/// What flows back through the statistics: d mean / dx = 1 / count, d variance / dx = 2 (x - mean) / count.
Tensor statisticsGradient(const Vjp<NormalizeGroups>& v, const cpu::NormColumns& n) {
  const double count = double(n.rows) * double(n.perGroup());
  const Tensor x = grouped(inStatisticsType(v.in(0), v.in(0).dtype()), n);
  Tensor sum;
  if (v.grad(1)) sum = mul(broadcastTo(spreadGroups(v.grad(1), n), {.shape = x.shape().ints()}), number(1 / count));
  if (v.grad(2)) {
    Tensor g = mul(sub(x, spreadGroups(v.out(1), n)), mul(spreadGroups(v.grad(2), n), number(2 / count)));
    sum = sum ? add(sum, g) : g;
  }
  return reshape(sum, {.shape = v.in(0).shape().ints()});
}

Tensors normalizeGroupsVjp(const Vjp<NormalizeGroups>& v) {
  const cpu::NormColumns n = columnsOf(v.attrs, v.in(0).shape());
  Tensors grads(v.inputs());
  if (v.grad(0)) {
    const Tensors found =
        normalizeGroupsGradient.all(Tensors{v.grad(0), v.in(0), v.in(1), v.out(1), v.out(2)}, v.attrs);
    std::copy_n(found.begin(), std::min(found.size(), grads.size()), grads.begin());
  }
  if (v.need(0) && (v.grad(1) || v.grad(2))) {
    Tensor g = statisticsGradient(v, n);
    grads[0] = grads[0] ? add(grads[0], g) : g;
  }
  return grads;
}

Specs inferGroupsGradient(const Args<NormalizeGroups>& c) {
  const Tensor &grad = c.in[0], &x = c.in[1];
  checkGroups(c.op, c.attrs, x);
  require(grad.spec() == x.spec(), Code::Shape, c.op, ": the gradient ", grad, " must be like the input ", x);
  checkParameter(c.op, "weight", c.in[2], {x.shape().back()});
  const Spec statistics{statisticsShape(c.attrs, x.shape()), statisticsType(x.dtype())};
  for (size_t i : {3, 4})
    require(c.in[i].spec() == statistics, Code::Shape, c.op, ": statistics must be ", statistics, "; got ", c.in[i]);
  const Spec parameter{{x.shape().back()}, statistics.dtype};
  return {x.spec(), parameter, parameter};
}

Tensors lowerGroupsGradient(const Args<NormalizeGroups>& c) {
  const Tensor& given = c.in[1];
  const cpu::NormColumns n = columnsOf(c.attrs, given.shape());
  const Tensor grad = grouped(inStatisticsType(c.in[0], given.dtype()), n),
               x = grouped(inStatisticsType(given, given.dtype()), n);
  const Tensor scale = inverseRoot(spreadGroups(c.in[4], n), n.eps),
               normal = mul(sub(x, spreadGroups(c.in[3], n)), scale);
  Tensor weighted = grad;
  if (c.in[2])
    weighted = mul(grad, reshape(inStatisticsType(c.in[2], given.dtype()), {.shape = {1, 1, n.groups, n.perGroup()}}));
  const Tensor dx = reshape(normGradient(weighted, normal, scale, {1, 3}, true), {.shape = given.shape().ints()});
  const ToShape parameter{.shape = {n.channels}};
  return {dx.dtype() == given.dtype() ? dx : cast(dx, {.dtype = given.dtype()}),
          reshape(sum(mul(grad, normal), {.axis = Ints{0, 1}}), parameter),
          reshape(sum(grad, {.axis = Ints{0, 1}}), parameter)};
}

const Implement<NormalizeGroups> groupsOnCpu("normalizeGroups", DeviceType::Cpu, [](const Call<NormalizeGroups>& c) {
  cpu::normalizeColumns(columnsOf(c.attrs, c.in[0].shape), c.in[0], c.in[1], c.in[2], c.out[0], c.out[1], c.out[2],
                        {.residual = c.in[3], .relu = c.attrs.relu});
});
const Implement<NormalizeGroups> groupsGradientOnCpu("normalizeGroupsGradient", DeviceType::Cpu,
                                                     [](const Call<NormalizeGroups>& c) {
                                                       cpu::columnsGradient(columnsOf(c.attrs, c.in[1].shape), c.in[0],
                                                                            c.in[1], c.in[2], c.in[3], c.in[4],
                                                                            c.out[0], c.out[1], c.out[2],
                                                                            c.attrs.relu ? &c.in[5] : nullptr);
                                                     });

std::vector<Field> groupFields() {
  return {
      required<&NormalizeGroups::groups>("groups", "the number of groups of channels"),
      required<&NormalizeGroups::eps>("eps", "added to the variance"),
      required<&NormalizeGroups::wholeBatch>("wholeBatch", "statistics over the whole batch instead of each element"),
      field<&NormalizeGroups::relu>("relu", "whether a ReLU follows; set in captured graphs")};
}

}  // namespace

const Op<NormalizeGroups> normalizeGroups({.name = "normalizeGroups",
                                           .doc = "`x` [batch, spatial axes, channels] normalised over groups of "
                                                  "channels and all spatial axes, and the statistics.",
                                           .inputs = {"x", "weight?", "bias?", "residual?"},
                                           .attrs = groupFields(),
                                           .outputs = {"result", "mean", "variance"},
                                           .infer = inferNormalizeGroups,
                                           .vjp = normalizeGroupsVjp,
                                           .saves = {.inputs = {0, 1}, .outputs = {1, 2}},
                                           .internal = true});

const Op<NormalizeGroups> normalizeGroupsGradient(
    {.name = "normalizeGroupsGradient",
     .doc = "The gradients of `normalizeGroups` with respect to input, weight and bias.",
     .inputs = {"grad", "x", "weight?", "mean", "variance", "bias?"},
     .attrs = groupFields(),
     .outputs = {"x", "weight", "bias"},
     .infer = inferGroupsGradient,
     .lower = lowerGroupsGradient,
     .internal = true});

namespace {

std::vector<Field> epsField() { return {field<&BatchNorm::eps>("eps", "added to the variance")}; }

Tensors lowerBatchNormTrain(const Args<BatchNorm>& c) {
  const Tensor& x = c.in[0];
  checkInput(c.op, x, 2);
  const int64_t channels = x.shape().back();
  require(channels >= 1 && x.size() > channels, Code::Shape, c.op,
          ": needs more than one value per channel to normalise by; the input is ", x.shape());
  checkParameter(c.op, "weight", c.in[1], {channels});
  checkParameter(c.op, "bias", c.in[2], {channels});
  Tensors out = normalizeGroups.all(c.in, {.groups = channels, .eps = c.attrs.eps, .wholeBatch = true});
  for (size_t i : {1, 2}) out[i] = reshape(out[i], {.shape = {channels}});
  return out;
}

Specs inferBatchNorm(const Args<BatchNorm>& c) {
  const Tensor& x = c.in[0];
  checkInput(c.op, x, 2);
  const Shape channels{x.shape().back()};
  static constexpr const char* names[] = {"", "mean", "variance", "weight", "bias"};
  for (size_t i = 1; i < 5; ++i) checkParameter(c.op, names[i], c.in[i], channels);
  return {x.spec()};
}

Tensors lowerBatchNorm(const Args<BatchNorm>& c) {
  const Tensor& x = c.in[0];
  inferBatchNorm(c);
  Tensor scale = inverseRoot(inStatisticsType(c.in[2], x.dtype()), c.attrs.eps);
  if (c.in[3]) scale = mul(scale, c.in[3]);
  Tensor y = mul(sub(inStatisticsType(x, x.dtype()), c.in[1]), scale);
  if (c.in[4]) y = add(y, c.in[4]);
  return {y.dtype() == x.dtype() ? y : cast(y, {.dtype = x.dtype()})};
}

const Implement<BatchNorm> batchNormOnCpu("batchNorm", DeviceType::Cpu, [](const Call<BatchNorm>& c) {
  const cpu::NormColumns n = columnsOf({.groups = 1, .eps = c.attrs.eps, .wholeBatch = true}, c.in[0].shape);
  cpu::applyColumns(n, c.in[0], c.in[1], c.in[2], c.in[3], c.in[4], c.out[0]);
});

}  // namespace

const Op<BatchNorm> batchNormTrain({.name = "batchNormTrain",
                                    .doc = "Batch normalisation (Ioffe and Szegedy, 2015) of `x` [batch, spatial axes, "
                                           "channels] with the batch's own statistics: (x - mean) / "
                                           "sqrt(variance + eps) * weight + bias. Also gives the mean and the variance "
                                           "(over n, not n - 1) of every channel, as float32, or float64 for float64.",
                                    .inputs = {"x", "weight?", "bias?"},
                                    .attrs = epsField(),
                                    .outputs = {"result", "mean", "variance"},
                                    .lower = lowerBatchNormTrain});

const Op<BatchNorm> batchNorm({.name = "batchNorm",
                               .doc = "Batch normalisation of `x` [batch, spatial axes, channels] with statistics "
                                      "[channels] that are given: (x - mean) / sqrt(variance + eps) * weight + bias.",
                               .inputs = {"x", "mean", "variance", "weight?", "bias?"},
                               .attrs = epsField(),
                               .infer = inferBatchNorm,
                               .lower = lowerBatchNorm});

const Op<GroupNorm> groupNorm(
    {.name = "groupNorm",
     .doc = "Group normalisation (Wu and He, 2018) of `x` [batch, spatial axes, channels]: in each batch element, over "
            "the spatial axes and each "
            "of `groups` groups of channels; then times `weight` [channels] plus `bias` [channels].",
     .inputs = {"x", "weight?", "bias?"},
     .attrs = {required<&GroupNorm::groups>("groups", "the number of groups; divides the channels"),
               field<&GroupNorm::eps>("eps", "added to the variance")},
     .lower = [](const Args<GroupNorm>& c) {
       return normalizedGroups(c.op, {.groups = c.attrs.groups, .eps = c.attrs.eps}, c.in);
     }});

const Op<BatchNorm> instanceNorm({.name = "instanceNorm",
                                  .doc = "Instance normalisation (Ulyanov et al., 2016) of `x` [batch, spatial axes, "
                                         "channels]: each channel of each batch element over its "
                                         "spatial axes; then times `weight` [channels] plus `bias` [channels].",
                                  .inputs = {"x", "weight?", "bias?"},
                                  .attrs = epsField(),
                                  .lower = [](const Args<BatchNorm>& c) {
                                    checkInput(c.op, c.in[0], 3);
                                    return normalizedGroups(
                                        c.op, {.groups = c.in[0].shape().back(), .eps = c.attrs.eps}, c.in);
                                  }});

}  // namespace anneal::ops
