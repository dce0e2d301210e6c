#include "ops/ctc.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/ctc.h"
#include "cpu/parallel.h"
#include "op/infer.h"
#include "op/precision.h"
#include "ops/logic.h"
#include "ops/operators.h"
#include "ops/reduce.h"

namespace anneal::ops {
namespace {

enum { kLogProbs, kTargets, kInputLengths, kTargetLengths, kLosses, kAlpha, kGradient };
constexpr double kInfinity = std::numeric_limits<double>::infinity();

void checkInputs(const Args<CtcLoss>& c) {
  const Tensor &x = c.in[kLogProbs], &targets = c.in[kTargets];
  require(x.rank() == 3 && x.size(2) > 0, Code::Shape, c.op,
          ": expected log-probabilities [frames, batch, classes]; got ", x.shape());
  require(x.dtype() == DType::Float32 || x.dtype() == DType::Float64, Code::DType, c.op,
          ": expected log-probabilities of float32 or float64; got ", x.dtype(), "; cast them");
  require(targets.rank() == 2 && targets.size(0) == x.size(1), Code::Shape, c.op, ": log-probabilities ", x.shape(),
          " need targets [", x.size(1), ",longest], padded; got ", targets.shape());
  for (int i : {kInputLengths, kTargetLengths})
    require(c.in[size_t(i)].shape() == Shape{x.size(1)}, Code::Shape, c.op, ": expected ", x.size(1),
            i == kInputLengths ? " input" : " target", " lengths, one for each sample; got ", c.in[size_t(i)].shape());
  for (int i : {kTargets, kInputLengths, kTargetLengths})
    require(c.in[size_t(i)].dtype() == DType::Int32 || c.in[size_t(i)].dtype() == DType::Int64, Code::DType, c.op,
            ": expected targets and lengths of int32 or int64; got ", c.in[size_t(i)].dtype());
  require(c.attrs.blank >= 0 && c.attrs.blank < x.size(2), Code::Value, c.op, ": blank must be one of the ", x.size(2),
          " classes, counted from 0; got ", c.attrs.blank);
}

int64_t alphaStep(const Shape& targets) { return 2 * targets[1] + 1 + cpu::kCtcPadding; }

Specs inferParts(const Args<CtcLoss>& c) {
  checkInputs(c);
  const Tensor& x = c.in[kLogProbs];
  const int64_t batch = x.size(1);
  return {{Shape{batch}, x.dtype()}, {Shape{batch, x.size(0), alphaStep(c.in[kTargets].shape())}, x.dtype()}};
}

int64_t integerAt(const View& v, int64_t i) {
  return v.dtype == DType::Int32 ? v.as<int32_t>()[i] : v.as<int64_t>()[i];
}

int64_t lengthAt(const View& lengths, int64_t sample, int64_t most, const char* what) {
  const int64_t length = integerAt(lengths, sample);
  require(length >= 0 && length <= most, Code::Value, "ctcLoss: the ", what, " length of sample ", sample, " is ",
          length, "; expected 0 to ", most);
  return length;
}

/// Sample n of a call, its values checked.
cpu::CtcSample sampleAt(const Call<CtcLoss>& call, int64_t n) {
  const View &x = call.in[kLogProbs], &targets = call.in[kTargets];
  const int64_t classes = x.shape[2], blank = call.attrs.blank, longest = targets.shape[1];
  cpu::CtcSample sample{.logProbs = static_cast<std::byte*>(x.data()) + n * classes * int64_t(itemSize(x.dtype)),
                        .frames = lengthAt(call.in[kInputLengths], n, x.shape[0], "input"),
                        .frameStep = x.shape[1] * classes};
  const int64_t length = lengthAt(call.in[kTargetLengths], n, longest, "target");
  sample.labels.assign(size_t(2 * length + 1), blank);
  for (int64_t s = 0; s < length; ++s) {
    const int64_t label = integerAt(targets, n * longest + s);
    require(label >= 0 && label < classes && label != blank, Code::Index, "ctcLoss: target ", s, " of sample ", n,
            " is ", label, "; expected a class from 0 to ", classes - 1, " other than the blank (", blank, ")");
    sample.labels[size_t(2 * s + 1)] = label;
  }
  return sample;
}

template <class F>
void eachSample(const View& logProbs, F&& f) {
  cpu::parallelFor(logProbs.shape[1], 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) f(n);
  });
}

/// Calls `f` with pointers to elements of the type computed in.
template <class F>
void visitFloat(DType dtype, F&& f) {
  if (dtype == DType::Float32) f(TypeTag<float>{});
  else f(TypeTag<double>{});
}

void partsCpu(const Call<CtcLoss>& call) {
  const View &x = call.in[kLogProbs], &losses = call.out[0], &alpha = call.out[1];
  const cpu::CtcLoops loops = cpu::ctcLoops(x.dtype);
  visitFloat(x.dtype, [&]<class T>(TypeTag<T>) {
    eachSample(x, [&](int64_t n) {
      T* states = alpha.as<T>() + n * alpha.shape[1] * alpha.shape[2];
      losses.as<T>()[n] = T(loops.forward(sampleAt(call, n), states, alpha.shape[2]));
    });
  });
}

void gradCpu(const Call<CtcLoss>& call) {
  const View &losses = call.in[kLosses], &alpha = call.in[kAlpha], &gradient = call.in[kGradient], &out = call.out[0];
  const cpu::CtcLoops loops = cpu::ctcLoops(out.dtype);
  const int64_t frames = out.shape[0], classes = out.shape[2];
  visitFloat(out.dtype, [&]<class T>(TypeTag<T>) {
    eachSample(out, [&](int64_t n) {
      T* to = out.as<T>() + n * classes;
      for (int64_t t = 0; t < frames; ++t) std::fill_n(to + t * out.shape[1] * classes, classes, T(0));
      const T loss = losses.as<T>()[n];
      if (call.attrs.zeroInfinity && std::isinf(loss)) return;
      loops.backward(sampleAt(call, n), alpha.as<T>() + n * alpha.shape[1] * alpha.shape[2], alpha.shape[2],
                     double(loss), double(gradient.as<T>()[n]), to);
    });
  });
}

const Implement<CtcLoss> partsOnCpu("ctcLossParts", DeviceType::Cpu, partsCpu);
const Implement<CtcLoss> gradOnCpu("ctcLossGrad", DeviceType::Cpu, gradCpu);

double partsCost(const CtcLoss&, std::span<const View> in, std::span<const View>) {
  return double(in[kLogProbs].size()) +
         40 * double(in[kLogProbs].shape[0] * in[kLogProbs].shape[1] * alphaStep(in[kTargets].shape));
}

Tensors lowerCtc(const Args<CtcLoss>& c) {
  checkInputs(c);
  Tensor losses = ctcLossParts.all(c.in, c.attrs)[0];
  if (c.attrs.zeroInfinity) losses = where(equal(losses, number(kInfinity)), number(0), losses);
  if (c.attrs.reduction == LossReduction::None) return {losses};
  if (c.attrs.reduction == LossReduction::Sum) return {sum(losses)};
  Tensor lengths = cast(c.in[kTargetLengths], {.dtype = losses.dtype()});
  return {mean(losses / maximum(lengths, number(1)))};
}

Tensors partsVjp(const Vjp<CtcLoss>& v) {
  require(!v.grad(1), Code::Gradient, "ctcLoss: only the loss has a gradient");
  Tensors in(v.call.in.begin(), v.call.in.end());
  for (const Tensor& t : {v.out(0).detach(), v.out(1).detach(), v.grad()}) in.push_back(t);
  return {ctcLossGrad(in, v.attrs)};
}

std::vector<Field> fields() {
  return {field<&CtcLoss::blank>("blank", "the class that stands for no label"),
          field<&CtcLoss::reduction>(
              "reduction",
              "what becomes of the losses: the mean of loss / max(target length, 1), their sum, or all of them",
              kLossReductions),
          field<&CtcLoss::zeroInfinity>("zeroInfinity",
                                        "targets that are too long for their input give no loss and no gradient, "
                                        "instead of Infinity and NaN")};
}

const std::vector<std::string> kInputs{"logProbs", "targets", "inputLengths", "targetLengths"};

}  // namespace

const Op<CtcLoss> ctcLoss(
    {.name = "ctcLoss",
     .doc = "Connectionist temporal classification: minus the logarithm of the probability of a label sequence, summed "
            "over all its alignments with the frames (Graves et al. 2006). `logProbs` [frames, batch, classes] are "
            "log-probabilities in float32 or float64, as logSoftmax gives them; `targets` [batch, longest] hold the "
            "labels, padded with anything; `inputLengths` and `targetLengths` [batch] say how many frames and labels "
            "count. The gradient is that with respect to each log-probability by itself; it has no gradient of its "
            "own.\n@throws ERR_INDEX, when the result is awaited, for a label that is no class or the blank, and "
            "ERR_VALUE for a length out of range.",
     .inputs = kInputs,
     .attrs = fields(),
     .lower = lowerCtc});

const Op<CtcLoss> ctcLossParts({.name = "ctcLossParts",
                                .doc = "The ctcLoss of each sample, with what its gradient needs.",
                                .inputs = kInputs,
                                .attrs = fields(),
                                .outputs = {"losses", "alpha"},
                                .infer = inferParts,
                                .vjp = partsVjp,
                                .saves = {.outputs = {0, 1}, .allInputs = true},
                                .internal = true,
                                .cost = partsCost});

const Op<CtcLoss> ctcLossGrad({.name = "ctcLossGrad",
                               .doc = "The gradient of ctcLoss with respect to the log-probabilities.",
                               .inputs = {"logProbs", "targets", "inputLengths", "targetLengths", "losses", "alpha",
                                          "gradient"},
                               .attrs = fields(),
                               .infer = [](const Args<CtcLoss>& c) { return Specs{c.in[kLogProbs].spec()}; },
                               .nonDifferentiable = true,
                               .internal = true,
                               .cost = partsCost});

const ComputeIn precision(Precision::Full, {"ctcLoss"});

}  // namespace anneal::ops
