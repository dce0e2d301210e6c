#include "ops/linear_crossentropy.h"

#include <algorithm>

#include "cpu/convert.h"
#include "cpu/crossentropy.h"
#include "cpu/gemm.h"
#include "cpu/parallel.h"
#include "cpu/workspace.h"
#include "graph/tape.h"
#include "op/precision.h"
#include "ops/arithmetic.h"
#include "ops/creation.h"
#include "ops/linear.h"
#include "ops/matmul.h"
#include "ops/views.h"
#include "runtime/context.h"

namespace anneal::ops {
namespace {

// Logits held at a time. More rows make better products, and the weights are read once for each chunk.
constexpr int64_t kChunkBytes = int64_t(64) << 20, kLeastRows = 64, kMostRows = 512;

Tensor composed(const CrossEntropy& attrs, const Tensor& x, const Tensor& weight, const Tensor& target,
                const Tensor& bias) {
  return crossEntropy(Tensors{linear(Tensors{x, weight, bias}), target, Tensor()}, attrs);
}

/// In what products of t are computed here.
DType productType(const Tensor& t) {
  const DType low = Context::current().autocast;
  return t.dtype() == DType::Float32 ? low : t.dtype();
}

Tensors lowerLinearCrossEntropy(const Args<CrossEntropy>& c) {
  const Tensor &x = c.in[0], &weight = c.in[1], &target = c.in[2], bias = c.in.size() > 3 ? c.in[3] : Tensor();
  require(x.rank() >= 1 && weight.rank() == 2 && x.shape().back() == weight.shape()[1], Code::Shape, c.op,
          ": expected x [..., in] and a weight [classes, in]; got ", x.shape(), " and ", weight.shape());
  // What the chunks do not cover.
  const DType type = productType(x);
  if (c.attrs.reduction == LossReduction::None || !isFloat(type) || type == DType::Float64 || isFloat(target.dtype()) ||
      productType(weight) != type || (bias && productType(bias) != type) || weight.size() == 0 ||
      target.shape() != x.shape().slice(0, x.rank() - 1))
    return {composed(c.attrs, x, weight, target, bias)};
  LinearCrossEntropy attrs;
  static_cast<CrossEntropy&>(attrs) = c.attrs;
  attrs.gradients =
      Context::current().gradEnabled && (x.requiresGrad() || weight.requiresGrad() || (bias && bias.requiresGrad()));
  const Tensors in{rowsOf(x), weight, reshape(target, {.shape = {target.size()}}), bias};
  const Tensor loss = linearCrossEntropyParts.all(in, attrs).front();
  const bool keeps = type == DType::Float32 || Context::current().autocast != DType::Float32;
  return {keeps ? loss : cast(loss, {.dtype = type})};
}

Specs inferParts(const Args<LinearCrossEntropy>& c) {
  const Tensor &x = c.in[0], &weight = c.in[1], &bias = c.in[3];
  require(!bias || bias.spec() == Spec{{weight.shape()[0]}, x.dtype()}, Code::Shape, c.op, ": expected a bias ",
          x.dtype(), "[", weight.shape()[0], "]; got ", bias);
  const auto sums = [&](const Shape& shape) { return Spec{c.attrs.gradients ? shape : Shape{0}, DType::Float32}; };
  return {{{}, DType::Float32},
          sums(x.shape()),
          sums(weight.shape()),
          sums(bias ? bias.shape() : Shape{0}),
          {{}, DType::Float32}};
}

class Chunks {
 public:
  explicit Chunks(const Call<LinearCrossEntropy>& call)
      : call_(call),
        rows_(call.in[0].shape[0]),
        features_(call.in[0].shape[1]),
        classes_(call.in[1].shape[0]),
        dtype_(call.in[0].dtype),
        loops_(cpu::crossEntropyLoops(DType::Float32)) {
    if (!call.in[3].defined) return;
    bias_.resize(size_t(classes_));
    cpu::converter(dtype_, DType::Float32)(call.in[3].data(), 1, bias_.data(), 1, classes_);
  }

  void run() {
    const int64_t most = std::clamp(kChunkBytes / (classes_ * int64_t(sizeof(float))), kLeastRows, kMostRows);
    logits_ = cpu::workspace<float>(cpu::Purpose::Scores, size_t(std::min(most, rows_) * classes_));
    gradients_ = reinterpret_cast<std::byte*>(logits_);
    if (wide() && call_.attrs.gradients)
      gradients_ = cpu::workspace<std::byte>(cpu::Purpose::ScoreGradients,
                                             size_t(std::min(most, rows_) * classes_) * itemSize(dtype_));
    double loss = 0, counted = 0;
    for (int64_t begin = 0; begin < rows_; begin += most) {
      const int64_t n = std::min(most, rows_ - begin);
      cpu::Gemm g{.dtype = dtype_,
                  .wide = wide(),
                  .m = n,
                  .n = classes_,
                  .k = features_,
                  .a = {x(begin), features_, 1},
                  .b = {call_.in[1].data(), 1, features_}};
      g.c = logits_;
      g.ldc = classes_;
      if (call_.in[3].defined) g.bias = bias_.data();
      cpu::gemm(g);
      loss += lossOf(begin, n);
      if (call_.attrs.gradients) addGradients(begin, n);
    }
    for (int64_t i = 0; i < rows_; ++i) counted += target(i) != call_.attrs.ignoreIndex;
    const double divisor = call_.attrs.reduction == LossReduction::Mean ? counted : 1;
    *call_.out[0].as<float>() = float(loss / divisor);
    *call_.out[4].as<float>() = float(divisor);
    if (call_.attrs.gradients && rows_ == 0)
      for (const View& v : call_.out.subspan(1, 3)) std::fill_n(v.as<float>(), v.size(), 0.F);
  }

 private:
  bool wide() const { return dtype_ != DType::Float32; }
  const std::byte* x(int64_t row) const {
    return static_cast<const std::byte*>(call_.in[0].data()) + row * features_ * int64_t(itemSize(dtype_));
  }
  int64_t target(int64_t i) const {
    return visitType(call_.in[2].dtype,
                     [&]<class T>(TypeTag<T>) { return cpu::convertTo<int64_t>(call_.in[2].as<T>()[i]); });
  }

  /// The sum of the rows' losses; with gradients, those of its logits by it are put into their places.
  double lossOf(int64_t begin, int64_t n) const {
    std::vector<double> losses(static_cast<size_t>(n));
    cpu::parallelFor(n, 1, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        float* row = logits_ + i * classes_;
        const int64_t wanted = target(begin + i);
        if (wanted == call_.attrs.ignoreIndex) {
          if (call_.attrs.gradients) std::fill_n(row, classes_, 0.F), narrow(i);
          continue;
        }
        require(wanted >= 0 && wanted < classes_, Code::Index, "linearCrossEntropy: the target of row ", begin + i,
                " is ", wanted, "; expected a class from 0 to ", classes_ - 1, " or ignoreIndex (",
                call_.attrs.ignoreIndex, ")");
        const cpu::CrossEntropyRow part{
            .logits = row, .classes = classes_, .target = wanted, .smoothing = call_.attrs.labelSmoothing};
        const cpu::CrossEntropySums sums = loops_.forward(part);
        losses[size_t(i)] = sums.loss;
        if (call_.attrs.gradients) loops_.backward(part, sums, 1, row), narrow(i);
      }
    });
    double total = 0;
    for (double l : losses) total += l;
    return total;
  }

  /// The products' factors are of 16 bits where x is.
  void narrow(int64_t row) const {
    if (!wide()) return;
    cpu::converter(DType::Float32, dtype_)(logits_ + row * classes_, 1,
                                           gradients_ + row * classes_ * int64_t(itemSize(dtype_)), 1, classes_);
  }

  void addGradients(int64_t begin, int64_t n) const {
    cpu::Gemm toX{.dtype = dtype_,
                  .wide = wide(),
                  .m = n,
                  .n = features_,
                  .k = classes_,
                  .a = {gradients_, classes_, 1},
                  .b = {call_.in[1].data(), features_, 1}};
    toX.c = call_.out[1].as<float>() + begin * features_;
    toX.ldc = features_;
    cpu::gemm(toX);
    cpu::Gemm toWeight{.dtype = dtype_,
                       .wide = wide(),
                       .m = classes_,
                       .n = features_,
                       .k = n,
                       .a = {gradients_, 1, classes_},
                       .b = {x(begin), features_, 1}};
    toWeight.c = call_.out[2].data();
    toWeight.ldc = features_;
    toWeight.beta = begin ? 1 : 0;
    cpu::gemm(toWeight);
    if (!call_.in[3].defined) return;
    float* toBias = call_.out[3].as<float>();
    cpu::parallelFor(classes_, 1024, [&](int64_t from, int64_t to) {
      if (begin == 0) std::fill(toBias + from, toBias + to, 0.F);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = from; j < to; ++j) toBias[j] += logits_[i * classes_ + j];
    });
  }

  const Call<LinearCrossEntropy>& call_;
  const int64_t rows_, features_, classes_;
  const DType dtype_;
  const cpu::CrossEntropyLoops loops_;
  float* logits_ = nullptr;         // and then their gradients
  std::byte* gradients_ = nullptr;  // in the dtype of x
  std::vector<float> bias_;
};

void partsCpu(const Call<LinearCrossEntropy>& call) { Chunks(call).run(); }
const Implement<LinearCrossEntropy> partsOnCpu("linearCrossEntropyParts", DeviceType::Cpu, partsCpu);

Tensors partsVjp(const Vjp<LinearCrossEntropy>& v) {
  const Tensor &x = v.in(0), &weight = v.in(1), &target = v.in(2), &bias = v.in(3), &g = v.grad();
  Tensors out(3 + (v.inputs() > 3 ? 1 : 0));
  const std::array<size_t, 3> places{0, 1, 3};
  if (!Context::current().gradEnabled) {
    // Where no row counts, the gradients are 0, not 0 / 0.
    const Tensor scale = div(g, maximum(v.out(4).detach(), number(1)));
    for (size_t i = 0; i < places.size(); ++i)
      if (v.need(places[i])) out[places[i]] = mul(v.out(i + 1).detach(), scale);
    return out;
  }
  // To be differentiated again: through all logits at once.
  Tensors wanted;
  for (size_t place : places)
    if (v.need(place)) wanted.push_back(v.in(place));
  const auto full = [](const Tensor& t) { return t ? cast(t, {.dtype = DType::Float32}) : t; };
  const AutocastOff off;
  const Tensors found =
      gradients({composed(v.attrs, full(x), full(weight), target, full(bias))}, {g}, wanted, {.createGraph = true});
  for (size_t i = 0, next = 0; i < places.size(); ++i)
    if (v.need(places[i])) out[places[i]] = found[next++];
  return out;
}

}  // namespace

const Op<CrossEntropy> linearCrossEntropy(
    {.name = "linearCrossEntropy",
     .doc = "crossEntropy(linear(x, weight, bias), target) without ever holding all the logits, for large numbers of "
            "classes: x [..., in], weight [classes, in], class indices [...], bias [classes]. Gradients are computed "
            "together with the loss, chunk by chunk (as in Hsu et al., Liger Kernel, 2024).\n@throws ERR_INDEX, when "
            "the result is awaited, for a class index out of range.",
     .inputs = {"x", "weight", "target", "bias?"},
     .attrs = {field<&CrossEntropy::labelSmoothing>("labelSmoothing",
                                                    "the share of each target that is spread evenly over all classes"),
               field<&CrossEntropy::ignoreIndex>("ignoreIndex", "rows with this class index count for nothing"),
               field<&CrossEntropy::reduction>("reduction", kLossReductionDoc, kLossReductions)},
     .lower = lowerLinearCrossEntropy});

const Op<LinearCrossEntropy> linearCrossEntropyParts(
    {.name = "linearCrossEntropyParts",
     .doc = "linearCrossEntropy of rows, all of one floating-point dtype; in float32 the gradients of its sum with "
            "respect to x, weight and bias, and what a mean divides by.",
     .inputs = {"x", "weight", "target", "bias?"},
     .attrs = {field<&LinearCrossEntropy::labelSmoothing>("labelSmoothing", "see linearCrossEntropy"),
               field<&LinearCrossEntropy::ignoreIndex>("ignoreIndex", "see linearCrossEntropy"),
               field<&LinearCrossEntropy::gradients>("gradients", "whether to compute the gradients"),
               field<&LinearCrossEntropy::reduction>("reduction", "see linearCrossEntropy", kLossReductions)},
     .outputs = {"loss", "dx", "dweight", "dbias", "divisor"},
     .infer = inferParts,
     .vjp = partsVjp,
     .saves = {.inputs = {0, 1, 2, 3}, .outputs = {1, 2, 3, 4}},
     .internal = true,
     .cost = [](const LinearCrossEntropy&, std::span<const View> in, std::span<const View>) {
       return double(in[0].size()) * double(in[1].shape[0]) + 16384;
     }});

const ComputeIn precision(Precision::Low, {"linearCrossEntropyParts"});

}  // namespace anneal::ops
