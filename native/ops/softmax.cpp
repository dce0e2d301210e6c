#include "ops/softmax.h"

#include "cpu/softmax.h"
#include "op/infer.h"
#include "op/precision.h"
#include "ops/arithmetic.h"
#include "ops/math.h"
#include "ops/reduce.h"

namespace anneal::ops {
namespace {

Specs inferSoftmax(const Args<Along>& c) {
  const Spec& x = c.in[0].spec();
  require(isFloat(x.dtype), Code::DType, c.op, ": expected floats; got ", x.dtype, ". Convert with cast('float32')");
  resolveAxis(c.op, c.attrs.axis, std::max(1, x.shape.rank()));
  return {x};
}

template <cpu::SoftmaxKind K>
void softmaxCpu(const Call<Along>& call) {
  static const View none{.defined = false};
  int axis = resolveAxis("softmax", call.attrs.axis, std::max(1, call.in[0].shape.rank()));
  cpu::softmax(K, call.in[0], call.in.size() > 1 ? call.in[1] : none, axis, call.out[0]);
}
const Implement<Along> softmaxOnCpu("softmax", DeviceType::Cpu, softmaxCpu<cpu::SoftmaxKind::Softmax>);
const Implement<Along> logSoftmaxOnCpu("logSoftmax", DeviceType::Cpu, softmaxCpu<cpu::SoftmaxKind::LogSoftmax>);
const Implement<Along> softmaxGradOnCpu("softmaxGrad", DeviceType::Cpu, softmaxCpu<cpu::SoftmaxKind::SoftmaxGrad>);
const Implement<Along> logSoftmaxGradOnCpu("logSoftmaxGrad", DeviceType::Cpu,
                                           softmaxCpu<cpu::SoftmaxKind::LogSoftmaxGrad>);

double softmaxCost(const Along&, std::span<const View> in, std::span<const View>) { return 4 * double(in[0].size()); }

Tensor total(const Tensor& x, const Along& attrs) {
  return x.rank() ? sum(x, {.axis = Ints{attrs.axis}, .keepDims = true}) : x;
}

Field axisField(const char* doc) { return field<&Along::axis>("axis", doc); }

}  // namespace

const Op<Along> softmax({.name = "softmax",
                         .doc = "The softmax of `x` along `axis`: `exp(x) / sum(exp(x))`, computed without overflow.",
                         .inputs = {"x"},
                         .attrs = {axisField("the axis along which the result adds up to 1")},
                         .infer = inferSoftmax,
                         .lower =
                             [](const Args<Along>& c) {
                               inferSoftmax(c);
                               return Tensors{exp(logSoftmax(c.in[0], c.attrs))};
                             },
                         .vjp = [](const Vjp<Along>& v) { return Tensors{softmaxGrad(v.out(), v.grad(), v.attrs)}; },
                         .saves = {.outputs = {0}},
                         .cost = softmaxCost});

const Op<Along> logSoftmax(
    {.name = "logSoftmax",
     .doc = "The logarithm of the softmax of `x` along `axis`: `x - logSumExp(x)`, exact where the softmax itself "
            "would round to 0.",
     .inputs = {"x"},
     .attrs = {axisField("the axis along which the exponentials of the result add up to 1")},
     .infer = inferSoftmax,
     .lower =
         [](const Args<Along>& c) {
           inferSoftmax(c);
           const Tensor& x = c.in[0];
           std::optional<Ints> axis;
           if (x.rank()) axis = Ints{c.attrs.axis};
           if (x.size() == 0) return Tensors{x};
           Tensor below = sub(x, max(x, {.axis = axis, .keepDims = true}).detach());
           return Tensors{sub(below, logSumExp(below, {.axis = axis, .keepDims = true}))};
         },
     .vjp = [](const Vjp<Along>& v) { return Tensors{logSoftmaxGrad(v.out(), v.grad(), v.attrs)}; },
     .saves = {.outputs = {0}},
     .cost = softmaxCost});

const Op<Along> softmaxGrad(
    {.name = "softmaxGrad",
     .doc = "The gradient of softmax, from its result `y`: `y * (gradient - sum(gradient * y))`.",
     .inputs = {"y", "gradient"},
     .attrs = {axisField("the axis of the softmax")},
     .infer = inferSoftmax,
     .lower =
         [](const Args<Along>& c) {
           const Tensor &y = c.in[0], &g = c.in[1];
           return Tensors{mul(y, sub(g, total(mul(g, y), c.attrs)))};
         },
     .vjp =
         [](const Vjp<Along>& v) {
           const Tensor &y = v.in(0), &g = v.in(1), &h = v.grad();
           Tensor dy;
           if (v.need(0)) dy = sub(mul(h, sub(g, total(mul(g, y), v.attrs))), mul(g, total(mul(h, y), v.attrs)));
           return Tensors{dy, v.need(1) ? softmaxGrad(y, h, v.attrs) : Tensor()};
         },
     .saves = kSaveInputs,
     .internal = true});

const Op<Along> logSoftmaxGrad(
    {.name = "logSoftmaxGrad",
     .doc = "The gradient of logSoftmax, from its result `y`: `gradient - exp(y) * sum(gradient)`.",
     .inputs = {"y", "gradient"},
     .attrs = {axisField("the axis of the softmax")},
     .infer = inferSoftmax,
     .lower = [](const Args<Along>& c) { return Tensors{sub(c.in[1], mul(exp(c.in[0]), total(c.in[1], c.attrs)))}; },
     .vjp =
         [](const Vjp<Along>& v) {
           Tensor p = exp(v.in(0)), h = v.grad();
           Tensor dy = v.need(0) ? neg(mul(mul(h, p), total(v.in(1), v.attrs))) : Tensor();
           return Tensors{dy, v.need(1) ? sub(h, total(mul(h, p), v.attrs)) : Tensor()};
         },
     .saves = kSaveInputs,
     .internal = true,
     .cost = softmaxCost});

const ComputeIn precision(Precision::Full, {"softmax", "logSoftmax"});

}  // namespace anneal::ops
