#include "ops/losses.h"

#include "op/infer.h"
#include "op/precision.h"
#include "ops/activation.h"
#include "ops/indexing.h"
#include "ops/logic.h"
#include "ops/math.h"
#include "ops/operators.h"
#include "ops/reduce.h"
#include "ops/views.h"

namespace anneal::ops {
namespace {

template <auto M>
Field reductionField() {
  return field<M>("reduction", kLossReductionDoc, kLossReductions);
}

Tensor reduced(const Tensor& losses, LossReduction reduction) {
  if (reduction == LossReduction::Mean) return mean(losses);
  return reduction == LossReduction::Sum ? sum(losses) : losses;
}

/// Broadcasting [n] with [n, 1] would give n * n losses, hardly ever on purpose.
template <class A>
void requireSameShape(const Args<A>& c, size_t count = 2) {
  for (size_t i = 1; i < count; ++i)
    require(c.in[i].shape() == c.in[0].shape(), Code::Shape, c.op, ": shapes differ: ", c.in[0].shape(), " and ",
            c.in[i].shape(), "; reshape one of them");
}

Tensor huber(const Tensor& difference, double delta) {
  Tensor size = abs(difference), inner = minimum(size, number(delta));
  return square(inner) * 0.5 + (size - inner) * delta;
}

/// Of each element; `log(sigmoid)` keeps it exact for large logits.
Tensor binaryCrossEntropy(const Tensor& x, const Tensor& target, const Tensor& posWeight) {
  Tensor positive = posWeight ? (posWeight - 1.0) * target + 1.0 : Tensor();
  Tensor log = logSigmoid(x);
  return (1.0 - target) * x - (positive ? positive * log : log);
}

Tensor negativeLogLikelihood(const Args<NllLoss>& c) {
  const Tensor &x = c.in[0], &target = c.in[1], &weight = c.in[2];
  require(x.rank() >= 1 && target.shape() == x.shape().slice(0, x.rank() - 1) && isInteger(target.dtype()), Code::Shape,
          c.op, ": log-probabilities [..., classes] need integer class indices [...]; got ", x.spec(), " and ",
          target.spec());
  Tensor counted = notEqual(target, number(double(c.attrs.ignoreIndex)));
  Tensor safe = cast(where(counted, target, number(0)), {.dtype = DType::Int64});
  Tensor picked = squeeze(gather(x, expandDims(safe, {.axis = -1}), {.axis = -1}), {.axis = Ints{-1}});
  Tensor share = cast(counted, {.dtype = x.dtype()});
  if (weight)
    share =
        reshape(indexSelect(weight, reshape(safe, {.shape = {-1}}), {.axis = 0}), {.shape = target.shape().ints()}) *
        share;
  Tensor losses = where(counted, -picked * share, number(0));
  if (c.attrs.reduction == LossReduction::Mean) return sum(losses) / sum(share);
  return reduced(losses, c.attrs.reduction);
}

Tensor divergence(const Args<Divergence>& c) {
  requireSameShape(c);
  const Tensor &x = c.in[0], &target = c.in[1];
  Tensor losses;
  if (c.attrs.logTarget) {
    losses = exp(target) * (target - x);
  } else {
    Tensor some = target > 0;
    losses = target * (log(where(some, target, number(1))) - x);
  }
  switch (c.attrs.reduction) {
    case DivergenceReduction::Mean: return mean(losses);
    case DivergenceReduction::BatchMean: return sum(losses) / double(x.rank() ? x.size(0) : 1);
    case DivergenceReduction::Sum: return sum(losses);
    default: return losses;
  }
}

Tensor focal(const Args<FocalLoss>& c) {
  requireSameShape(c);
  const Tensor &x = c.in[0], &t = c.in[1];
  Tensor p = sigmoid(x), missed = p + t - p * t * 2.0;  // 1 - the probability of the true class
  Tensor losses = binaryCrossEntropy(x, t, {}) * pow(missed, number(c.attrs.gamma));
  if (c.attrs.alpha >= 0) losses = losses * (t * c.attrs.alpha + (1.0 - t) * (1 - c.attrs.alpha));
  return reduced(losses, c.attrs.reduction);
}

Tensor cosine(const Tensor& a, const Tensor& b, int64_t axis, double epsilon) {
  auto length = [&](const Tensor& x) { return maximum(norm(x, {.axis = Ints{axis}}), number(epsilon)); };
  return sum(a * b, {.axis = Ints{axis}}) / (length(a) * length(b));
}

Tensor distance(const Tensor& a, const Tensor& b, double p) {
  return norm(a - b + 1e-6, {.p = p, .axis = Ints{-1}});  // the offset keeps the gradient finite where a = b
}

}  // namespace

const Op<Loss> mseLoss({.name = "mseLoss",
                        .doc = "The squared error, `(prediction - target)^2`. Both have the same shape.",
                        .inputs = {"prediction", "target"},
                        .attrs = {reductionField<&Loss::reduction>()},
                        .lower = [](const Args<Loss>& c) {
                          requireSameShape(c);
                          return Tensors{reduced(square(c.in[0] - c.in[1]), c.attrs.reduction)};
                        }});

const Op<Loss> maeLoss({.name = "maeLoss",
                        .doc = "The absolute error, `|prediction - target|`. Both have the same shape.",
                        .inputs = {"prediction", "target"},
                        .attrs = {reductionField<&Loss::reduction>()},
                        .lower = [](const Args<Loss>& c) {
                          requireSameShape(c);
                          return Tensors{reduced(abs(c.in[0] - c.in[1]), c.attrs.reduction)};
                        }});

const Op<HuberLoss> huberLoss(
    {.name = "huberLoss",
     .doc = "Half the squared error up to `delta`, linear from there (Huber, 1964). Both inputs have the same shape.",
     .inputs = {"prediction", "target"},
     .attrs = {field<&HuberLoss::delta>("delta", "the error from which on the loss is linear"),
               reductionField<&HuberLoss::reduction>()},
     .lower = [](const Args<HuberLoss>& c) {
       requireSameShape(c);
       require(c.attrs.delta > 0, Code::Value, c.op, ": delta must be above 0; got ", c.attrs.delta);
       return Tensors{reduced(huber(c.in[0] - c.in[1], c.attrs.delta), c.attrs.reduction)};
     }});

const Op<Loss> binaryCrossEntropyWithLogits({.name = "binaryCrossEntropyWithLogits",
                                             .doc = "The cross-entropy of logits with targets from 0 to 1 of the same "
                                                    "shape. `posWeight` weighs the positive targets, `weight` "
                                                    "every element; both broadcast.",
                                             .inputs = {"logits", "target", "weight?", "posWeight?"},
                                             .attrs = {reductionField<&Loss::reduction>()},
                                             .lower = [](const Args<Loss>& c) {
                                               requireSameShape(c);
                                               Tensor losses = binaryCrossEntropy(c.in[0], c.in[1], c.in[3]);
                                               return Tensors{
                                                   reduced(c.in[2] ? losses * c.in[2] : losses, c.attrs.reduction)};
                                             }});

const Op<NllLoss> nllLoss(
    {.name = "nllLoss",
     .doc =
         "The negative of the log-probabilities [..., classes] of the classes [...]. `weight` has a number for each "
         "class; "
         "the mean divides by the sum of the targets' weights.\n@throws ERR_INDEX, when the result is awaited, for a "
         "class out of range.",
     .inputs = {"logProbabilities", "target", "weight?"},
     .attrs = {field<&NllLoss::ignoreIndex>("ignoreIndex", "targets with this index count for nothing"),
               reductionField<&NllLoss::reduction>()},
     .lower = [](const Args<NllLoss>& c) { return Tensors{negativeLogLikelihood(c)}; }});

const Op<Divergence> klDivergence(
    {.name = "klDivergence",
     .doc = "The Kullback-Leibler divergence `target * (log(target) - logProbabilities)` of a distribution from the "
            "target's, both of "
            "the same shape.",
     .inputs = {"logProbabilities", "target"},
     .attrs = {field<&Divergence::logTarget>("logTarget", "whether the targets are logarithms too"),
               field<&Divergence::reduction>(
                   "reduction",
                   "what becomes of the elements: their mean, their sum over the size of the first axis, their "
                   "sum, or all as they are",
                   {"mean", "batchMean", "sum", "none"})},
     .lower = [](const Args<Divergence>& c) { return Tensors{divergence(c)}; }});

const Op<FocalLoss> focalLoss(
    {.name = "focalLoss",
     .doc = "The binary cross-entropy of logits with targets 0 or 1 of the same shape, times `(1 - p)^gamma` for the "
            "probability p of the true class (Lin et al., 2017).",
     .inputs = {"logits", "target"},
     .attrs = {field<&FocalLoss::alpha>("alpha", "the weight of positive targets, of 1; negative: no weights"),
               field<&FocalLoss::gamma>("gamma", "how much well classified examples fade"),
               reductionField<&FocalLoss::reduction>()},
     .lower = [](const Args<FocalLoss>& c) { return Tensors{focal(c)}; }});

const Op<CosineSimilarity> cosineSimilarity(
    {.name = "cosineSimilarity",
     .doc = "The cosine of the angle between vectors along `axis`.",
     .inputs = {"a", "b"},
     .attrs = {field<&CosineSimilarity::axis>("axis", "the axis of the vectors"),
               field<&CosineSimilarity::epsilon>("epsilon", "the least length that is divided by")},
     .lower = [](const Args<CosineSimilarity>& c) {
       return Tensors{cosine(c.in[0], c.in[1], c.attrs.axis, c.attrs.epsilon)};
     }});

const Op<MarginLoss> cosineEmbeddingLoss(
    {.name = "cosineEmbeddingLoss",
     .doc = "`1 - cos` for pairs of vectors [..., n] whose target is 1, `max(0, cos - margin)` where it is -1.",
     .inputs = {"a", "b", "target"},
     .attrs = {field<&MarginLoss::margin>("margin", "the cosine that dissimilar vectors may have"),
               reductionField<&MarginLoss::reduction>()},
     .lower = [](const Args<MarginLoss>& c) {
       requireSameShape(c);
       Tensor cos = cosine(c.in[0], c.in[1], -1, 1e-8);
       require(c.in[2].shape() == cos.shape(), Code::Shape, c.op, ": expected targets ", cos.shape(), "; got ",
               c.in[2].shape());
       Tensor losses = where(c.in[2] > 0, 1.0 - cos, relu(cos - c.attrs.margin));
       return Tensors{reduced(losses, c.attrs.reduction)};
     }});

const Op<TripletLoss> tripletMarginLoss(
    {.name = "tripletMarginLoss",
     .doc = "`max(0, margin + d(anchor, positive) - d(anchor, negative))` for vectors [..., n] and their distance in "
            "the p-norm.",
     .inputs = {"anchor", "positive", "negative"},
     .attrs = {field<&TripletLoss::margin>("margin", "how much farther the negative should be"),
               field<&TripletLoss::p>("p", "the order of the norm"), reductionField<&TripletLoss::reduction>()},
     .lower = [](const Args<TripletLoss>& c) {
       requireSameShape(c, 3);
       Tensor near = distance(c.in[0], c.in[1], c.attrs.p), far = distance(c.in[0], c.in[2], c.attrs.p);
       return Tensors{reduced(relu(near - far + c.attrs.margin), c.attrs.reduction)};
     }});

const ComputeIn precision(Precision::Full,
                          {"mseLoss", "maeLoss", "huberLoss", "binaryCrossEntropyWithLogits", "nllLoss", "klDivergence",
                           "focalLoss", "cosineSimilarity", "cosineEmbeddingLoss", "tripletMarginLoss"});

}  // namespace anneal::ops
