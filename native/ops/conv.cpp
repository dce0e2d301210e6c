#include "ops/conv.h"

#include "cpu/conv.h"
#include "op/precision.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/spatial.h"

namespace anneal::ops {

using cpu::ConvShape;

void setConvPadding(const std::string& op, const Ints& given, int rank, ConvShape& s) {
  if (int(given.size()) != 2 * rank) {
    s.before = s.after = perAxis(op, "padding", given, rank, 0);
    return;
  }
  for (int i = 0; i < rank; ++i) {
    s.before.push(given[size_t(2 * i)]);
    s.after.push(given[size_t(2 * i + 1)]);
    require(s.before[i] >= 0 && s.before[i] <= INT32_MAX && s.after[i] > -s.stride[i] && s.after[i] <= INT32_MAX,
            Code::Value, op, ": padding must be 0 or more; got ", given);
  }
}

namespace {

/// Pads so that the output has ceil(size / stride) elements, the odd one at the end.
void setSamePadding(ConvShape& s) {
  for (int i = 0; i < s.rank(); ++i) {
    int64_t out = (s.in[i] + s.stride[i] - 1) / s.stride[i];
    int64_t total = std::max<int64_t>(0, (out - 1) * s.stride[i] + s.dilation[i] * (s.kernel[i] - 1) + 1 - s.in[i]);
    s.before.push(total / 2);
    s.after.push(total - total / 2);
  }
}

void checkGroups(const std::string& op, const ConvShape& s, const Shape& weight) {
  require(s.groups >= 1, Code::Value, op, ": groups must be 1 or more; got ", s.groups);
  require(s.inChannels % s.groups == 0 && s.outChannels % s.groups == 0, Code::Shape, op, ": groups = ", s.groups,
          " must divide the ", s.inChannels, " input and the ", s.outChannels, " output channels");
  require(weight.back() == s.groupIn(), Code::Shape, op, ": the weight ", weight, " is for ", weight.back(),
          " input channels per group; the input has ", s.inChannels, " channels in ", s.groups, " group(s)");
}

void setOutput(const std::string& op, ConvShape& s) {
  Dims reach;
  for (int i = 0; i < s.rank(); ++i) reach.push(s.in[i] + s.before[i] + s.after[i]);
  for (int i = 0; i < s.rank(); ++i) {
    int64_t span = s.dilation[i] * (s.kernel[i] - 1) + 1;
    require(s.kernel[i] >= 1, Code::Shape, op, ": the kernel ", s.kernel, " is empty");
    require(span <= reach[i], Code::Shape, op, ": the kernel ", s.kernel, " with dilation ", s.dilation,
            " is larger than the padded input ", reach);
    s.out.push((reach[i] - span) / s.stride[i] + 1);
  }
}

}  // namespace

ConvShape convShape(const std::string& op, const Conv& a, const Shape& x, const Shape& w) {
  const int rank = x.rank() - 2;
  ConvShape s{.batch = x[0], .inChannels = x.back(), .outChannels = w[0], .groups = a.groups};
  s.in = spatial(x);
  s.kernel = spatial(w);
  s.stride = perAxis(op, "stride", a.stride, rank, 1);
  s.dilation = perAxis(op, "dilation", a.dilation, rank, 1);
  if (a.same) setSamePadding(s);
  else setConvPadding(op, a.padding, rank, s);
  checkGroups(op, s, w);
  setOutput(op, s);
  return s;
}

void checkConvOperands(const std::string& op, int rank, const Tensor& x, const Tensor& weight, const Tensor& bias,
                       int64_t channels) {
  checkImages(op, x.shape(), rank);
  require(weight.rank() == rank + 2, Code::Shape, op, ": the weight must have ", rank + 2, " axes; got ",
          weight.shape());
  require(isFloat(x.dtype()), Code::DType, op, ": the input must be of a floating-point dtype; got ", x.dtype(),
          "; convert it with cast()");
  auto sameDType = [&](const char* what, const Tensor& t) {
    require(t.dtype() == x.dtype(), Code::DType, op, ": dtypes differ: the input is ", x.dtype(), ", the ", what, " ",
            t.dtype(), "; convert one with cast()");
  };
  sameDType("weight", weight);
  if (bias) sameDType("bias", bias);
  require(!bias || bias.shape() == Shape{channels}, Code::Shape, op, ": the bias must have the shape [", channels,
          "]; got ", bias ? bias.shape() : Shape{});
}

namespace {

template <int Rank>
Specs inferConv(const Args<Conv>& c) {
  const Tensor &x = c.in[0], &w = c.in[1];
  checkConvOperands(c.op, Rank, x, w, c.in[2], w.rank() ? w.size(0) : 0);
  ConvShape s = convShape(c.op, c.attrs, x.shape(), w.shape());
  return {{join(s.batch, s.out, s.outChannels), x.dtype()}};
}

ConvGradient gradientOf(const ConvShape& s, const Dims& size) {
  ConvGradient g{.size = size.ints(), .stride = s.stride.ints(), .dilation = s.dilation.ints(), .groups = s.groups};
  for (int i = 0; i < s.rank(); ++i) g.padding.insert(g.padding.end(), {s.before[i], s.after[i]});
  return g;
}

/// The convolution whose gradient this is.
Conv forwardOf(const ConvGradient& a) {
  return {.stride = a.stride, .padding = a.padding, .dilation = a.dilation, .groups = a.groups};
}

const Op<Conv>& convOf(int rank) { return rank == 1 ? conv1d : (rank == 2 ? conv2d : conv3d); }

Tensor channelSums(const Tensor& g) {
  Ints axes;
  for (int i = 0; i + 1 < g.rank(); ++i) axes.push_back(i);
  return sum(g, {.axis = axes});
}

template <int Rank>
Tensors convVjp(const Vjp<Conv>& v) {
  const Shape &x = v.in(0).shape(), &w = v.in(1).shape();
  ConvShape s = convShape("conv", v.attrs, x, w);
  return {v.need(0) ? convData(v.grad(), v.in(1), Tensor(), gradientOf(s, s.in)) : Tensor(),
          v.need(1) ? convWeights(v.in(0), v.grad(), gradientOf(s, s.kernel)) : Tensor(),
          v.need(2) ? channelSums(v.grad()) : Tensor()};
}

template <int Rank>
void convCpu(const Call<Conv>& call) {
  ConvShape s = convShape("conv", call.attrs, call.in[0].shape, call.in[1].shape);
  cpu::convForward(s, call.in[0], call.in[1], call.in[2], call.out[0]);
}

double convCost(const Conv& a, std::span<const View> in, std::span<const View> out) {
  return std::max(convShape("conv", a, in[0].shape, in[1].shape).work(), double(in[0].size() + out[0].size()));
}

template <int Rank>
Op<Conv> makeConv(const std::string& kernel) {
  const std::string name = "conv" + std::to_string(Rank) + "d";
  Implement<Conv>(name, DeviceType::Cpu, convCpu<Rank>);
  return Op<Conv>(
      {.name = name,
       .doc = "The convolution (cross-correlation, as in PyTorch) of `x` [batch, " + axisNames(Rank) +
              ", in] with `weight` [out, " + kernel + ", in / groups], plus `bias` [out] if given: [batch, " +
              axisNames(Rank) +
              "', out], where a size L becomes floor((L + padding - dilation * (kernel - 1) - 1) / stride) + 1 with "
              "the padding of both ends.",
       .inputs = {"x", "weight", "bias?"},
       .attrs = {field<&Conv::stride>("stride", "the step, for all axes or for each"),
                 field<&Conv::padding>(
                     "padding",
                     "the zeros added at both ends of all axes or of each, or pairs: before and after each axis"),
                 field<&Conv::dilation>("dilation", "the distance between the kernel's elements"),
                 field<&Conv::groups>("groups", "the number of groups of channels that are convolved separately"),
                 field<&Conv::same>("same",
                                    "pad so that the size becomes ceil(size / stride), instead of by `padding`")},
       .infer = inferConv<Rank>,
       .vjp = convVjp<Rank>,
       .saves = {.inputs = {0, 1}},
       .cost = convCost});
}

}  // namespace

const Op<Conv> conv1d = makeConv<1>("kernel");
const Op<Conv> conv2d = makeConv<2>("kernel height, kernel width");
const Op<Conv> conv3d = makeConv<3>("kernel depth, kernel height, kernel width");

namespace {

/// Shapes of data and weight of which at least one is the result of a gradient.
ConvShape dataShape(const std::string& op, const ConvGradient& a, const Shape& grad, const Shape& w) {
  require(int(a.size.size()) == grad.rank() - 2, Code::Value, op, ": size needs one number for each spatial axis of ",
          grad, "; got ", a.size);
  ConvShape s = convShape(op, forwardOf(a), join(grad[0], Dims(a.size), w.back() * a.groups), w);
  require(join(s.batch, s.out, s.outChannels) == grad, Code::Shape, op, ": a result of the size ", a.size,
          " belongs to a gradient of the shape ", join(s.batch, s.out, s.outChannels), "; got ", grad);
  return s;
}

ConvShape weightsShape(const std::string& op, const ConvGradient& a, const Shape& x, const Shape& grad) {
  require(a.groups >= 1 && int(a.size.size()) == x.rank() - 2, Code::Value, op,
          ": size needs one number for each spatial axis of ", x, "; got ", a.size);
  ConvShape s = convShape(op, forwardOf(a), x, join(grad.back(), Dims(a.size), x.back() / a.groups));
  require(join(s.batch, s.out, s.outChannels) == grad, Code::Shape, op, ": a kernel ", a.size,
          " belongs to a gradient of the shape ", join(s.batch, s.out, s.outChannels), "; got ", grad);
  return s;
}

void convDataCpu(const Call<ConvGradient>& call) {
  ConvShape s = dataShape("convData", call.attrs, call.in[0].shape, call.in[1].shape);
  cpu::convData(s, call.in[0], call.in[1], call.in[2], call.out[0]);
}
const Implement<ConvGradient> convDataOnCpu("convData", DeviceType::Cpu, convDataCpu);

void convWeightsCpu(const Call<ConvGradient>& call) {
  ConvShape s = weightsShape("convWeights", call.attrs, call.in[0].shape, call.in[1].shape);
  cpu::convWeights(s, call.in[0], call.in[1], call.out[0]);
}
const Implement<ConvGradient> convWeightsOnCpu("convWeights", DeviceType::Cpu, convWeightsCpu);

Specs inferConvData(const Args<ConvGradient>& c) {
  const Tensor &grad = c.in[0], &w = c.in[1];
  const int rank = std::clamp(grad.rank() - 2, 1, 3);
  checkConvOperands(c.op, rank, grad, w, c.in[2], w.rank() ? w.shape().back() * c.attrs.groups : 0);
  ConvShape s = dataShape(c.op, c.attrs, grad.shape(), w.shape());
  return {{join(s.batch, s.in, s.inChannels), grad.dtype()}};
}

Specs inferConvWeights(const Args<ConvGradient>& c) {
  const Tensor &x = c.in[0], &grad = c.in[1];
  checkConvOperands(c.op, std::clamp(x.rank() - 2, 1, 3), x, grad, Tensor(), 0);
  ConvShape s = weightsShape(c.op, c.attrs, x.shape(), grad.shape());
  return {{join(s.outChannels, s.kernel, s.groupIn()), x.dtype()}};
}

double dataCost(const ConvGradient& a, std::span<const View> in, std::span<const View> out) {
  return std::max(dataShape("convData", a, in[0].shape, in[1].shape).work(), double(in[0].size() + out[0].size()));
}
double weightsCost(const ConvGradient& a, std::span<const View> in, std::span<const View> out) {
  return std::max(weightsShape("convWeights", a, in[0].shape, in[1].shape).work(),
                  double(in[0].size() + out[0].size()));
}

std::vector<Field> gradientFields(const char* size) {
  return {required<&ConvGradient::size>("size", size),
          required<&ConvGradient::stride>("stride", "the step along each axis"),
          required<&ConvGradient::padding>("padding", "zeros before and after each axis"),
          required<&ConvGradient::dilation>("dilation", "the distance between the kernel's elements"),
          required<&ConvGradient::groups>("groups", "the number of groups of channels")};
}

}  // namespace

// A convolution, its gradient to the data and its gradient to the weight are one trilinear form read in three ways, so
// that the gradients of each are the other two.
const Op<ConvGradient> convData(
    {.name = "convData",
     .doc = "The gradient of a convolution with respect to its input, from `grad` of its output and its `weight`: the "
            "transposed "
            "convolution. `bias` is added to every channel.",
     .inputs = {"grad", "weight", "bias?"},
     .attrs = gradientFields("the spatial size of the convolution's input"),
     .infer = inferConvData,
     .vjp =
         [](const Vjp<ConvGradient>& v) {
           ConvShape s = dataShape("convData", v.attrs, v.in(0).shape(), v.in(1).shape());
           return Tensors{v.need(0) ? convOf(s.rank())(v.grad(), v.in(1), Tensor(), forwardOf(v.attrs)) : Tensor(),
                          v.need(1) ? convWeights(v.grad(), v.in(0), gradientOf(s, s.kernel)) : Tensor(),
                          v.need(2) ? channelSums(v.grad()) : Tensor()};
         },
     .saves = {.inputs = {0, 1}},
     .internal = true,
     .cost = dataCost});

const Op<ConvGradient> convWeights(
    {.name = "convWeights",
     .doc = "The gradient of a convolution with respect to its weight, from its input `x` and `grad` of its output.",
     .inputs = {"x", "grad"},
     .attrs = gradientFields("the size of the kernel"),
     .infer = inferConvWeights,
     .vjp =
         [](const Vjp<ConvGradient>& v) {
           ConvShape s = weightsShape("convWeights", v.attrs, v.in(0).shape(), v.in(1).shape());
           return Tensors{v.need(0) ? convData(v.in(1), v.grad(), Tensor(), gradientOf(s, s.in)) : Tensor(),
                          v.need(1) ? convOf(s.rank())(v.in(0), v.grad(), Tensor(), forwardOf(v.attrs)) : Tensor()};
         },
     .saves = kSaveInputs,
     .internal = true,
     .cost = weightsCost});

const ComputeIn precision(Precision::Low, {"conv1d", "conv2d", "conv3d"});

}  // namespace anneal::ops
