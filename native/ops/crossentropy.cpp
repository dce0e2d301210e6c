#include "ops/crossentropy.h"

#include "cpu/convert.h"
#include "cpu/crossentropy.h"
#include "cpu/elementwise.h"
#include "cpu/parallel.h"
#include "op/infer.h"
#include "op/precision.h"
#include "ops/arithmetic.h"
#include "ops/creation.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "ops/views.h"

namespace anneal::ops {
namespace {

constexpr int64_t kGrain = 8192;
const std::string kName = "crossEntropy";  // in messages, also of its parts

Shape rowsOf(const Shape& logits) { return logits.slice(0, logits.rank() - 1); }

/// Checks logits, targets and weights.
void checkInputs(const Args<CrossEntropy>& c) {
  const Tensor &x = c.in[0], &target = c.in[1], &weight = c.in[2];
  require(isFloat(x.dtype()), Code::DType, kName, ": expected logits of floats; got ", x.dtype());
  require(x.rank() >= 1 && x.shape().back() > 0, Code::Shape, kName, ": expected logits [..., classes]; got ",
          x.shape());
  require(!isFloat(target.dtype()) || target.shape() != rowsOf(x.shape()), Code::DType, kName,
          ": class indices must be integers; got ", target.spec(), "; convert them with cast('int64')");
  if (isFloat(target.dtype()))
    require(target.shape() == x.shape(), Code::Shape, kName, ": probabilities as targets need the shape of the logits ",
            x.shape(), "; got ", target.shape());
  else
    require(target.shape() == rowsOf(x.shape()) && target.dtype() != DType::Bool, Code::Shape, kName, ": logits ",
            x.shape(), " need class indices ", rowsOf(x.shape()), " or probabilities ", x.shape(), "; got ",
            target.spec());
  require(!weight || (weight.rank() == 1 && weight.size() == x.shape().back()), Code::Shape, kName,
          ": expected one weight for each of ", x.shape().back(), " classes; got ", weight ? weight.shape() : Shape{});
  require(c.attrs.labelSmoothing >= 0 && c.attrs.labelSmoothing <= 1, Code::Value, kName,
          ": labelSmoothing must lie from 0 to 1; got ", c.attrs.labelSmoothing);
}

Specs inferParts(const Args<CrossEntropy>& c) {
  checkInputs(c);
  const DType dtype = c.in[0].dtype(), compute = computeType(dtype);
  const Shape rows = rowsOf(c.in[0].shape());
  return {{c.attrs.reduction == LossReduction::None ? rows : Shape{}, dtype},
          {rows, compute},
          {rows, compute},
          {Shape{}, compute}};
}

/// The rows of a call, converted to what is computed in; one per thread.
class Rows {
 public:
  Rows(const CrossEntropy& attrs, const View& logits, const View& target, const View& weight, const std::string& op)
      : attrs_(attrs), logits_(logits), target_(target), op_(op), compute_(computeType(logits.dtype)) {
    classes = logits.shape.back();
    count = logits.size() / classes;
    if (!weight.defined) return;
    weights_.resize(size_t(classes));
    cpu::gather(weight, static_cast<const std::byte*>(weight.data()), 1, DType::Float64, weights_.data(), classes);
  }

  /// False for a row that is ignored.
  bool read(int64_t i, cpu::CrossEntropyRow& row) {
    const bool soft = isFloat(target_.dtype);
    row = {.weights = weights_.empty() ? nullptr : weights_.data(),
           .classes = classes,
           .smoothing = attrs_.labelSmoothing};
    if (!soft) {
      row.target =
          visitType(target_.dtype, [&]<class T>(TypeTag<T>) { return cpu::convertTo<int64_t>(target_.as<T>()[i]); });
      if (row.target == attrs_.ignoreIndex) return false;
      require(row.target >= 0 && row.target < classes, Code::Index, op_, ": the target of row ", i, " is ", row.target,
              "; expected a class from 0 to ", classes - 1, " or ignoreIndex (", attrs_.ignoreIndex, ")");
    }
    row.logits = converted(logits_, i, logitsBuffer_);
    if (soft) row.probabilities = converted(target_, i, targetBuffer_);
    return true;
  }

  double weightOf(const cpu::CrossEntropyRow& row) const {
    return row.probabilities || weights_.empty() ? 1 : weights_[size_t(row.target)];
  }

  int64_t classes, count;

 private:
  const void* converted(const View& from, int64_t i, std::vector<double>& buffer) {
    const std::byte* at = static_cast<const std::byte*>(from.data()) + i * classes * int64_t(itemSize(from.dtype));
    if (from.dtype == compute_) return at;
    buffer.resize(size_t(classes));
    cpu::gather(from, at, 1, compute_, buffer.data(), classes);
    return buffer.data();
  }

  const CrossEntropy& attrs_;
  const View &logits_, &target_;
  const std::string& op_;
  DType compute_;
  std::vector<double> weights_, logitsBuffer_, targetBuffer_;
};

void store(const View& out, int64_t i, double value) {
  visitType(out.dtype, [&]<class T>(TypeTag<T>) { out.as<T>()[i] = cpu::convertTo<T>(value); });
}
double load(const View& in, int64_t i) {
  return visitType(in.dtype, [&]<class T>(TypeTag<T>) { return cpu::convertTo<double>(in.as<T>()[i]); });
}

void partsCpu(const Call<CrossEntropy>& call) {
  const View &loss = call.out[0], &logSumExp = call.out[1], &rowWeight = call.out[2], &divisor = call.out[3];
  const cpu::CrossEntropyLoops loops = cpu::crossEntropyLoops(computeType(call.in[0].dtype));
  const int64_t count = Rows(call.attrs, call.in[0], call.in[1], call.in[2], kName).count,
                classes = call.in[0].shape.back();
  std::vector<double> losses(static_cast<size_t>(count)), weights(losses.size());
  cpu::parallelFor(count, std::max<int64_t>(1, kGrain / classes), [&](int64_t begin, int64_t end) {
    Rows rows(call.attrs, call.in[0], call.in[1], call.in[2], kName);
    cpu::CrossEntropyRow row;
    for (int64_t i = begin; i < end; ++i) {
      cpu::CrossEntropySums sums;
      if (rows.read(i, row)) {
        sums = loops.forward(row);
        weights[size_t(i)] = rows.weightOf(row);
      }
      losses[size_t(i)] = sums.loss;
      store(logSumExp, i, sums.logSumExp);
      store(rowWeight, i, sums.weight);
    }
  });
  double total = 0, weight = 0;
  for (size_t i = 0; i < losses.size(); ++i) total += losses[i], weight += weights[i];
  const double by = call.attrs.reduction == LossReduction::Mean ? weight : 1;
  store(divisor, 0, by);
  if (call.attrs.reduction != LossReduction::None) return store(loss, 0, total / by);
  for (size_t i = 0; i < losses.size(); ++i) store(loss, int64_t(i), losses[i]);
}

/// Inputs: logits, target, weight?, logSumExp, rowWeight, divisor, gradient.
void gradCpu(const Call<CrossEntropy>& call) {
  const View &logSumExp = call.in[3], &rowWeight = call.in[4], &divisor = call.in[5], &gradient = call.in[6];
  const View& out = call.out[0];
  const DType compute = computeType(out.dtype);
  const cpu::CrossEntropyLoops loops = cpu::crossEntropyLoops(compute);
  const int64_t classes = call.in[0].shape.back(), count = call.in[0].size() / classes,
                size = int64_t(itemSize(out.dtype));
  const double by = load(divisor, 0);
  cpu::parallelFor(count, std::max<int64_t>(1, kGrain / classes), [&](int64_t begin, int64_t end) {
    Rows rows(call.attrs, call.in[0], call.in[1], call.in[2], kName);
    cpu::CrossEntropyRow row;
    std::vector<double> buffer(out.dtype == compute ? 0 : size_t(classes));
    for (int64_t i = begin; i < end; ++i) {
      std::byte* to = static_cast<std::byte*>(out.data()) + i * classes * size;
      if (!rows.read(i, row)) {
        std::memset(to, 0, size_t(classes * size));
        continue;
      }
      const double scale = load(gradient, gradient.size() == 1 ? 0 : i) / by;
      void* target = buffer.empty() ? to : static_cast<void*>(buffer.data());
      loops.backward(row, {.logSumExp = load(logSumExp, i), .weight = load(rowWeight, i)}, scale, target);
      if (!buffer.empty()) cpu::scatter(target, compute, out, to, 1, classes);
    }
  });
}

const Implement<CrossEntropy> partsOnCpu("crossEntropyParts", DeviceType::Cpu, partsCpu);
const Implement<CrossEntropy> gradOnCpu("crossEntropyGrad", DeviceType::Cpu, gradCpu);

std::vector<Field> fields() {
  return {field<&CrossEntropy::labelSmoothing>("labelSmoothing",
                                               "the share of each target that is spread evenly over all classes"),
          field<&CrossEntropy::ignoreIndex>("ignoreIndex", "rows with this class index count for nothing"),
          field<&CrossEntropy::reduction>("reduction", kLossReductionDoc, kLossReductions)};
}

double partsCost(const CrossEntropy&, std::span<const View> in, std::span<const View>) {
  return 4 * double(in[0].size());
}

/// One number per row, beside a row of classes.
Tensor perRow(const Tensor& x, const Shape& logits) {
  Shape shape = rowsOf(logits);
  shape.push(1);
  return x.size() == 1 ? x : reshape(x, {.shape = shape.ints()});
}

/// d(loss) / d(probabilities), times the rows' gradients: weight (1 - smoothing) (logSumExp - logits).
Tensor softTargetGrad(const CrossEntropy& attrs, const Tensor& logits, const Tensor& weight,
                      const Tensor& perRowScale) {
  Tensor g = mul(mul(neg(logSoftmax(logits)), number(1 - attrs.labelSmoothing)), perRowScale);
  return weight ? mul(g, weight) : g;
}

Tensors partsVjp(const Vjp<CrossEntropy>& v) {
  const Tensor &logits = v.in(0), &target = v.in(1), &weight = v.in(2), &g = v.grad();
  require(!v.grad(1) && !v.grad(2) && !v.grad(3), Code::Gradient, "crossEntropy: only the loss has a gradient");
  require(!v.need(2), Code::Gradient,
          "crossEntropy: has no gradient with respect to the class weights; use detach() on them");
  Tensors out(3);
  if (v.need(0))
    out[0] =
        crossEntropyGrad({logits, target, weight, v.out(1).detach(), v.out(2).detach(), v.out(3).detach(), g}, v.attrs);
  if (v.need(1)) out[1] = softTargetGrad(v.attrs, logits, weight, perRow(div(g, v.out(3).detach()), logits.shape()));
  return out;
}

/// The gradient is linear in `gradient`, and depends on the logits through their softmax.
Tensors gradVjp(const Vjp<CrossEntropy>& v) {
  const Tensor &logits = v.in(0), &target = v.in(1), &weight = v.in(2), &rowWeight = v.in(4), &divisor = v.in(5),
               &g = v.in(6), &h = v.grad();
  const Shape& shape = logits.shape();
  Tensor scale = perRow(div(g, divisor), shape), p = softmax(logits);
  Tensors out(7);
  if (v.need(0)) out[0] = softmaxGrad(p, mul(h, mul(scale, perRow(rowWeight, shape))));
  if (v.need(1)) {
    Tensor along = sub(sum(mul(h, p), {.axis = Ints{-1}, .keepDims = true}), h);
    Tensor each = mul(mul(along, scale), number(1 - v.attrs.labelSmoothing));
    out[1] = weight ? mul(each, weight) : each;
  }
  if (v.need(6)) {
    Tensor unit = crossEntropyGrad({logits, target, weight, v.in(3), rowWeight, divisor, onesLike(g)}, v.attrs);
    out[6] = sum(mul(h, unit), {.axis = g.rank() ? std::optional(Ints{-1}) : std::nullopt});
  }
  return out;
}

}  // namespace

const Op<CrossEntropy> crossEntropy(
    {.name = "crossEntropy",
     .doc = "The cross-entropy of logits [..., classes] with class indices [...] (any integers) or with probabilities "
            "of the logits' "
            "shape: -sum(target * logSoftmax(logits)). `weight`, one number per class, weighs each class; the mean "
            "then divides by "
            "the sum of the targets' weights (with probabilities by the number of rows).\n@throws ERR_INDEX, when the "
            "result is awaited, "
            "for a class index out of range.",
     .inputs = {"logits", "target", "weight?"},
     .attrs = fields(),
     .infer = [](const Args<CrossEntropy>& c) { return Specs{inferParts(c)[0]}; },
     .lower = [](const Args<CrossEntropy>& c) { return Tensors{crossEntropyParts.all(c.in, c.attrs)[0]}; }});

const Op<CrossEntropy> crossEntropyParts({.name = "crossEntropyParts",
                                          .doc = "crossEntropy, with what its gradient needs.",
                                          .inputs = {"logits", "target", "weight?"},
                                          .attrs = fields(),
                                          .outputs = {"loss", "logSumExp", "rowWeight", "divisor"},
                                          .infer = inferParts,
                                          .vjp = partsVjp,
                                          .saves = {.inputs = {0, 1, 2}, .outputs = {1, 2, 3}},
                                          .internal = true,
                                          .cost = partsCost});

const Op<CrossEntropy> crossEntropyGrad({.name = "crossEntropyGrad",
                                         .doc = "The gradient of crossEntropy with respect to the logits.",
                                         .inputs = {"logits", "target", "weight?", "logSumExp", "rowWeight", "divisor",
                                                    "gradient"},
                                         .attrs = fields(),
                                         .infer = [](const Args<CrossEntropy>& c) { return Specs{c.in[0].spec()}; },
                                         .vjp = gradVjp,
                                         .saves = kSaveInputs,
                                         .internal = true,
                                         .cost = partsCost});

const ComputeIn precision(Precision::Full, {"crossEntropy"});

}  // namespace anneal::ops
