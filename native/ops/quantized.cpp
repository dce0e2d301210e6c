#include "ops/quantized.h"

#include <cfloat>

#include "op/infer.h"
#include "ops/arithmetic.h"
#include "ops/comparison.h"
#include "ops/creation.h"
#include "ops/linear.h"
#include "ops/logic.h"
#include "ops/math.h"
#include "ops/operators.h"
#include "ops/reduce.h"
#include "ops/spatial.h"
#include "ops/views.h"

namespace anneal::ops {
namespace {

using cpu::ConvShape;

void checkWeights(const std::string& op, Inputs in) {
  const Spec &x = in[0].spec(), &w = in[1].spec();
  require(isFloat(x.dtype), Code::DType, op, ": the input must be of a floating-point dtype; got ", x.dtype,
          "; it is quantised here");
  require(w.dtype == DType::Int8, Code::DType, op, ": the weight must be int8; got ", w.dtype,
          "; nn.quantize() makes int8 weights of a trained model");
  auto checkOutputs = [&](const char* what, const Tensor& t) {
    require(isFloat(t.dtype()), Code::DType, op, ": the ", what, " must be of a floating-point dtype; got ", t.dtype());
    require(t.shape() == Shape{w.shape[0]}, Code::Shape, op, ": the ", what, " has one element for each output, [",
            w.shape[0], "]; got ", t.shape());
  };
  checkOutputs("scale", in[2]);
  if (in.size() > 3 && in[3]) checkOutputs("bias", in[3]);
  const int64_t depth = w.size() / std::max<int64_t>(w.shape[0], 1);
  require(depth <= cpu::kInt8Depth, Code::Value, op, ": ", depth, " weights for each output are more than ",
          cpu::kInt8Depth, ", for which 32-bit sums suffice; leave this layer in float");
}

Shape linearShape(const std::string& op, const Shape& x, const Shape& w) {
  require(x.rank() > 0, Code::Shape, op, ": x needs at least one axis, [..., in]; got a scalar");
  require(w.rank() == 2, Code::Shape, op, ": the weight has two axes, [out, in]; got ", w);
  require(x.back() == w[1], Code::Shape, op, ": inner sizes differ: x ", x, ", weight [out, in] ", w);
  Shape out = x;
  out[out.rank() - 1] = w[0];
  return out;
}

Specs inferLinear(const Args<None>& c) {
  const Shape out = linearShape(c.op, c.in[0].shape(), c.in[1].shape());
  checkWeights(c.op, c.in);
  return {{out, c.in[0].dtype()}};
}

template <int Rank>
Specs inferConv(const Args<Conv>& c) {
  const Tensor &x = c.in[0], &w = c.in[1];
  checkImages(c.op, x.shape(), Rank);
  require(w.rank() == Rank + 2, Code::Shape, c.op, ": the weight must have ", Rank + 2, " axes; got ", w.shape());
  const ConvShape s = convShape(c.op, c.attrs, x.shape(), w.shape());
  checkWeights(c.op, c.in);
  return {{join(s.batch, s.out, s.outChannels), x.dtype()}};
}

void linearCpu(const Call<None>& call) {
  cpu::int8Linear(call.in[0], {call.in[1], call.in[2], call.in[3], {.defined = false}}, {}, call.out[0]);
}
const Implement<None> linearOnCpu("quantizedLinear", DeviceType::Cpu, linearCpu);

void convCpu(const Call<Conv>& call) {
  const ConvShape s = convShape("quantizedConv", call.attrs, call.in[0].shape, call.in[1].shape);
  cpu::int8Conv(s, call.in[0], {call.in[1], call.in[2], call.in[3], {.defined = false}}, {}, call.out[0]);
}

/// Activations as whole numbers, and what they are to be multiplied by, which is NaN for a range that is not finite.
struct Levels {
  Tensor values, scale;
};

/// As cpu::Range::quantizer has it; ranges are taken over `axes`.
Levels levelsOf(const Tensor& x, const Ints& axes) {
  const Tensor wide = cast(x, {.dtype = DType::Float32});
  const Tensor low = minimum(min(wide, {.axis = axes, .keepDims = true}), number(0));
  const Tensor high = maximum(max(wide, {.axis = axes, .keepDims = true}), number(0));
  const Tensor range = sub(div(high, number(cpu::kInt8Levels)), div(low, number(cpu::kInt8Levels)));
  const Tensor used = greaterEqual(range, number(FLT_MIN));
  const Tensor inverse = where(used, reciprocal(range), number(0));
  const Tensor zero = round(mul(neg(low), inverse));
  const Tensor levels = minimum(add(round(mul(wide, inverse)), zero), number(cpu::kInt8Levels));
  const Tensor known = where(used, range, number(0));
  return {sub(levels, zero), where(isFinite(range), known, number(NAN))};
}

/// product * scale of the activations * scale of the weights + bias, in the dtype of x.
Tensor rescaled(const Tensor& product, const Levels& x, Inputs in) {
  auto wide = [](const Tensor& t) { return cast(t, {.dtype = DType::Float32}); };
  Tensor y = mul(product, mul(x.scale, wide(in[2])));
  if (in.size() > 3 && in[3]) y = add(y, wide(in[3]));
  return cast(y, {.dtype = in[0].dtype()});
}

Tensor floatWeight(Inputs in) { return cast(in[1], {.dtype = DType::Float32}); }

/// Without any activations there is no range: the bias is left.
Tensor biasAlone(const Specs& specs, Inputs in) {
  const Spec& out = specs[0];
  const Tensor none = zerosOp(Tensors{}, {.shape = out.shape.ints(), .dtype = out.dtype});
  return in.size() > 3 && in[3] ? add(none, cast(in[3], {.dtype = out.dtype})) : none;
}

Tensors lowerLinear(const Args<None>& c) {
  const Specs specs = inferLinear(c);
  if (c.in[0].size() == 0) return {biasAlone(specs, c.in)};
  const Levels x = levelsOf(c.in[0], {-1});
  return {rescaled(linear(x.values, floatWeight(c.in)), x, c.in)};
}

template <int Rank>
Tensors lowerConv(const Args<Conv>& c) {
  const Specs specs = inferConv<Rank>(c);
  if (c.in[0].size() == 0) return {biasAlone(specs, c.in)};
  Ints axes;
  for (int i = 1; i < Rank + 2; ++i) axes.push_back(i);
  const Levels x = levelsOf(c.in[0], axes);
  const Op<Conv>& conv = Rank == 1 ? conv1d : (Rank == 2 ? conv2d : conv3d);
  return {rescaled(conv(x.values, floatWeight(c.in), Tensor(), c.attrs), x, c.in)};
}

double convCost(const Conv& a, std::span<const View> in, std::span<const View> out) {
  return std::max(convShape("quantizedConv", a, in[0].shape, in[1].shape).work(), double(in[0].size() + out[0].size()));
}
double linearCost(std::span<const View> in, std::span<const View> out) {
  return double(std::max<int64_t>(in[1].shape[1], 2)) * double(out[0].size()) + double(in[0].size());
}

const char* const kScheme =
    " `weight` is int8 and stands for itself times `scale` [out]. The input is quantised to 7 bits by the range of "
    "each ";

template <int Rank>
Op<Conv> makeConv(const std::string& kernel) {
  const std::string name = "quantizedConv" + std::to_string(Rank) + "d";
  Implement<Conv>(name, DeviceType::Cpu, convCpu);
  return Op<Conv>(
      {.name = name,
       .doc = "conv" + std::to_string(Rank) + "d by whole numbers: `x` [batch, " + axisNames(Rank) +
              ", in] with `weight` [out, " + kernel + ", in / groups] and a `bias` [out] or none." + kScheme +
              "image; sums of products are exact. An image that holds NaN or infinity becomes NaN. It has no gradient: "
              "train in float, then quantise (nn.quantize).",
       .inputs = {"x", "weight", "scale", "bias?"},
       .attrs = {field<&Conv::stride>("stride", "the step, for all axes or for each"),
                 field<&Conv::padding>("padding", "zeros at both ends of all axes or of each, or pairs for each axis"),
                 field<&Conv::dilation>("dilation", "the distance between the kernel's elements"),
                 field<&Conv::groups>("groups", "the number of groups of channels that are convolved separately"),
                 field<&Conv::same>("same", "pad so that the size becomes ceil(size / stride), not by `padding`")},
       .infer = inferConv<Rank>,
       .lower = lowerConv<Rank>,
       .nonDifferentiable = true,
       .cost = convCost});
}

}  // namespace

const Op<None> quantizedLinear(
    {.name = "quantizedLinear",
     .doc = std::string("linear by whole numbers: `x` [..., in] with `weight` [out, in] and a `bias` [out] or none.") +
            kScheme +
            "row; sums of products are exact. A row that holds NaN or infinity becomes NaN. It has no gradient: train "
            "in float, then quantise (nn.quantize).",
     .inputs = {"x", "weight", "scale", "bias?"},
     .infer = inferLinear,
     .lower = lowerLinear,
     .nonDifferentiable = true,
     .cost = [](const None&, std::span<const View> in, std::span<const View> out) { return linearCost(in, out); }});

const Op<Conv> quantizedConv1d = makeConv<1>("kernel");
const Op<Conv> quantizedConv2d = makeConv<2>("kernel height, kernel width");
const Op<Conv> quantizedConv3d = makeConv<3>("kernel depth, kernel height, kernel width");

namespace {

void inferenceCpu(const Call<QuantizedInference>& call) {
  const cpu::Int8Weights weights{call.in[1], call.in[2], call.in[4], call.in[3]};
  const cpu::Int8After after{call.in[5], call.attrs.activation};
  if (call.attrs.linear) return cpu::int8Linear(call.in[0], weights, after, call.out[0]);
  const ConvShape s = convShape("quantizedInference", call.attrs, call.in[0].shape, call.in[1].shape);
  cpu::int8Conv(s, call.in[0], weights, after, call.out[0]);
}
const Implement<QuantizedInference> inferenceOnCpu("quantizedInference", DeviceType::Cpu, inferenceCpu);

/// The taps of a filter: of a weight [out, kernel, in / groups] the product of the kernel's axes.
int64_t tapsOf(const Shape& weight) { return weight.slice(1, weight.rank() - 1).product(); }

void planCpu(const Call<QuantizedPlan>& call) {
  const View &weight = call.in[0], &plan = call.out[0];
  const int64_t groups = call.attrs.groups;
  for (int64_t g = 0; g < groups; ++g) {
    View own = weight, part = plan;
    own.shape[0] /= groups;
    own.memory += own.size() * g;
    part.shape[0] /= groups;
    part.memory += part.size() * g * int64_t(sizeof(int32_t));
    cpu::int8Plan(own, tapsOf(weight.shape), weight.shape.back(), part);
  }
}
const Implement<QuantizedPlan> planOnCpu("quantizedPlan", DeviceType::Cpu, planCpu);

}  // namespace

Spec planSpec(const Shape& weight, int64_t groups) {
  const int64_t panels = cpu::int8Panels(weight[0] / groups) * groups;
  return {{panels, cpu::int8PlanSize(tapsOf(weight), weight.back())}, DType::Int32};
}

const Op<QuantizedInference> quantizedInference(
    {.name = "quantizedInference",
     .doc = "A quantised layer with an addition and an activation in one pass; made when a graph is planned.",
     .inputs = {"x", "weight", "scale", "plan?", "bias?", "residual?"},
     .infer =
         [](const Args<QuantizedInference>& c) {
           const Tensor &x = c.in[0], &w = c.in[1];
           if (c.attrs.linear) return Specs{{linearShape(c.op, x.shape(), w.shape()), x.dtype()}};
           const ConvShape s = convShape(c.op, c.attrs, x.shape(), w.shape());
           return Specs{{join(s.batch, s.out, s.outChannels), x.dtype()}};
         },
     .nonDifferentiable = true,
     .method = false,
     .internal = true});

const Op<QuantizedPlan> quantizedPlan(
    {.name = "quantizedPlan",
     .doc = "The order in which a kernel goes through int8 weights [out, ..., in / groups], for each 32 outputs.",
     .inputs = {"weight"},
     .attrs = {required<&QuantizedPlan::groups>("groups", "the number of groups of channels")},
     .infer = [](const Args<QuantizedPlan>& c) { return Specs{planSpec(c.in[0].shape(), c.attrs.groups)}; },
     .nonDifferentiable = true,
     .method = false,
     .internal = true});

}  // namespace anneal::ops
