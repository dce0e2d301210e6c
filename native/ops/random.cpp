#include "ops/random.h"

#include <cmath>

#include "op/infer.h"
#include "op/key.h"
#include "ops/creation.h"

namespace anneal::ops {

NormalRange rangeOf(const TruncatedNormal& a) {
  const bool mirrored = a.low > a.mean;
  const double scale = mirrored ? -a.std : a.std;
  const auto below = [&](double x) { return std::erfc((a.mean - x) / scale / std::sqrt(2.0)) / 2; };
  return {below(mirrored ? a.high : a.low), below(mirrored ? a.low : a.high), scale};
}

namespace {

template <class A>
void requireFloat(const Args<A>& c) {
  require(isFloat(c.attrs.dtype), Code::DType, c.op, ": dtype must be a floating-point type; got ", c.attrs.dtype);
}
template <class A>
Specs specOf(const Args<A>& c) {
  return {{Shape(c.attrs.shape), c.attrs.dtype}};
}
void requireProbability(const std::string& op, double p) {
  require(p >= 0 && p <= 1, Code::Value, op, ": p must be from 0 to 1; got ", p);
}

/// A random number costs about as much as this many simple operations.
template <class A>
double randomCost(const A&, std::span<const View>, std::span<const View> out) {
  return 8 * double(out[0].size());
}
double sortCost(const Permutation& a, std::span<const View>, std::span<const View>) { return 16 * double(a.size); }

/// Throws unless `dtype`, if of integers, holds those from `least` to `greatest`.
void requireHeld(const std::string& op, int64_t least, int64_t greatest, DType dtype) {
  if (isFloat(dtype)) return;
  const IntegerRange held = integerRange(dtype);
  require(least >= held.least && greatest <= held.greatest, Code::Value, op, ": ", dtype, " holds ", held, "; got ",
          least, " to ", greatest);
}

void checkRange(const Args<RandomInt>& c) {
  require(c.attrs.low < c.attrs.high, Code::Value, c.op, ": low must be less than high; got ", c.attrs.low, " and ",
          c.attrs.high);
  requireHeld(c.op, c.attrs.low, c.attrs.high - 1, c.attrs.dtype);
}

}  // namespace

const Op<RandomUniform> randomUniform(
    {.name = "randomUniform",
     .doc = "Random numbers, uniform from `low` up to, not including, `high`. Element i takes lane i % 4 of step "
            "i / 4 of Philox 4x32-10 (Salmon et al. 2011), so that a seed gives the same numbers anywhere.",
     .inputs = {"key?"},
     .attrs = {required<&RandomUniform::shape>("shape", "the sizes of the result"),
               field<&RandomUniform::low>("low", "the lower bound"),
               field<&RandomUniform::high>("high", "the upper bound"),
               field<&RandomUniform::dtype>("dtype", "a floating-point dtype")},
     .infer =
         [](const Args<RandomUniform>& c) {
           requireFloat(c);
           require(c.attrs.low <= c.attrs.high, Code::Value, c.op, ": low must be at most high; got ", c.attrs.low,
                   " and ", c.attrs.high);
           return specOf(c);
         },
     .nonDifferentiable = true,
     .method = false,
     .random = true,
     .cost = randomCost<RandomUniform>});

const Op<RandomNormal> randomNormal(
    {.name = "randomNormal",
     .doc = "Random numbers of a normal distribution, by the Box-Muller transform of pairs of uniform ones.",
     .inputs = {"key?"},
     .attrs = {required<&RandomNormal::shape>("shape", "the sizes of the result"),
               field<&RandomNormal::mean>("mean", "the mean"),
               field<&RandomNormal::std>("std", "the standard deviation"),
               field<&RandomNormal::dtype>("dtype", "a floating-point dtype")},
     .infer =
         [](const Args<RandomNormal>& c) {
           requireFloat(c);
           require(c.attrs.std >= 0, Code::Value, c.op, ": std must be 0 or more; got ", c.attrs.std);
           return specOf(c);
         },
     .nonDifferentiable = true,
     .method = false,
     .random = true,
     .cost = randomCost<RandomNormal>});

const Op<TruncatedNormal> truncatedNormal(
    {.name = "truncatedNormal",
     .doc = "Random numbers of a normal distribution restricted to `low` to `high`, through its inverse cumulative "
            "distribution.",
     .inputs = {"key?"},
     .attrs = {required<&TruncatedNormal::shape>("shape", "the sizes of the result"),
               field<&TruncatedNormal::mean>("mean", "the mean before truncation"),
               field<&TruncatedNormal::std>("std", "the standard deviation before truncation"),
               field<&TruncatedNormal::low>("low", "the least value"),
               field<&TruncatedNormal::high>("high", "the greatest value"),
               field<&TruncatedNormal::dtype>("dtype", "a floating-point dtype")},
     .infer =
         [](const Args<TruncatedNormal>& c) {
           requireFloat(c);
           require(c.attrs.std > 0, Code::Value, c.op, ": std must be greater than 0; got ", c.attrs.std);
           require(c.attrs.low < c.attrs.high, Code::Value, c.op, ": low must be less than high; got ", c.attrs.low,
                   " and ", c.attrs.high);
           require(rangeOf(c.attrs).to > 0, Code::Value, c.op, ": low ", c.attrs.low, " to high ", c.attrs.high,
                   " is too far from the mean ", c.attrs.mean, " with std ", c.attrs.std,
                   ": the probability of all of it is 0");
           return specOf(c);
         },
     .nonDifferentiable = true,
     .method = false,
     .random = true,
     .cost = [](const TruncatedNormal&, std::span<const View>,
                std::span<const View> out) { return 128 * double(out[0].size()); }});

const Op<Bernoulli> bernoulli({.name = "bernoulli",
                               .doc = "Ones with probability `p`, zeros otherwise.",
                               .inputs = {"key?"},
                               .attrs = {required<&Bernoulli::shape>("shape", "the sizes of the result"),
                                         field<&Bernoulli::p>("p", "the probability of a one"),
                                         field<&Bernoulli::dtype>("dtype", "the dtype of the result")},
                               .infer =
                                   [](const Args<Bernoulli>& c) {
                                     requireProbability(c.op, c.attrs.p);
                                     return specOf(c);
                                   },
                               .nonDifferentiable = true,
                               .method = false,
                               .random = true,
                               .cost = randomCost<Bernoulli>});

const Op<RandomInt> randomInt({.name = "randomInt",
                               .doc = "Random integers, uniform from `low` up to, not including, `high`.",
                               .inputs = {"key?"},
                               .attrs = {required<&RandomInt::shape>("shape", "the sizes of the result"),
                                         required<&RandomInt::low>("low", "the least value"),
                                         required<&RandomInt::high>("high", "the bound above, not included"),
                                         field<&RandomInt::dtype>("dtype", "the dtype of the result")},
                               .infer =
                                   [](const Args<RandomInt>& c) {
                                     checkRange(c);
                                     return specOf(c);
                                   },
                               .nonDifferentiable = true,
                               .method = false,
                               .random = true,
                               .cost = randomCost<RandomInt>});

const Op<Permutation> permutation({.name = "permutation",
                                   .doc = "The integers from 0 up to, not including, `size`, in random order.",
                                   .inputs = {"key?"},
                                   .attrs = {required<&Permutation::size>("size", "how many integers"),
                                             field<&Permutation::dtype>("dtype", "the dtype of the result")},
                                   .infer =
                                       [](const Args<Permutation>& c) {
                                         require(c.attrs.size >= 0, Code::Value, c.op, ": size must be 0 or more; got ",
                                                 c.attrs.size);
                                         require(c.attrs.size >> 32 == 0, Code::Value, c.op,
                                                 ": size must be less than 2^32; got ", c.attrs.size);
                                         requireHeld(c.op, 0, c.attrs.size - 1, c.attrs.dtype);
                                         return Specs{{{c.attrs.size}, c.attrs.dtype}};
                                       },
                                   .nonDifferentiable = true,
                                   .method = false,
                                   .random = true,
                                   .cost = sortCost});

const Op<Dropout> dropout(
    {.name = "dropout",
     .doc =
         "`x` with each element set to 0 with probability `p` and the others divided by 1 - `p`; `x` itself when not "
         "training. The gradient makes the same mask again from the key. (Srivastava et al. 2014)",
     .inputs = {"x", "key?"},
     .attrs = {field<&Dropout::p>("p", "the probability of an element to be dropped"),
               field<&Dropout::training>("training", "whether to drop at all")},
     .lower = [](const Args<Dropout>& c) {
       requireProbability(c.op, c.attrs.p);
       require(isFloat(c.in[0].dtype()), Code::DType, c.op, ": expected a floating-point tensor; got ",
               c.in[0].dtype());
       if (c.in[1]) requireKey(c.op, c.in[1]);
       if (!c.attrs.training || c.attrs.p == 0) return Tensors{c.in[0]};
       return Tensors{dropoutMask(c.in[0], c.in[1], {.p = c.attrs.p})};
     }});

const Op<DropoutMask> dropoutMask({.name = "dropoutMask",
                                   .doc = "Dropout while training.",
                                   .inputs = {"x", "key?"},
                                   .attrs = {required<&DropoutMask::p>("p",
                                                                       "the probability of an element to be dropped")},
                                   .infer = [](const Args<DropoutMask>& c) { return Specs{c.in[0].spec()}; },
                                   .vjp =
                                       [](const Vjp<DropoutMask>& v) {
                                         return Tensors{dropoutMask(v.grad(), v.in(1), v.attrs), Tensor()};
                                       },
                                   .saves = {.inputs = {1}},
                                   .internal = true,
                                   .random = true,
                                   .cost = randomCost<DropoutMask>});

}  // namespace anneal::ops
