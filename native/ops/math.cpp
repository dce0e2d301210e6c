#include "ops/math.h"

#include "op/precision.h"
#include "ops/elementwise.h"
#include "ops/operators.h"

namespace anneal::ops {
namespace {

using V = Vjp<None>;
using Gradient = Tensors (*)(const V&);

constexpr double kLn2 = 0.69314718055994531, kLn10 = 2.302585092994045684, kTwoOverRootPi = 1.1283791670955126;

/// A function of one variable whose gradient reads its input.
template <class F>
Op<None> byInput(std::string name, std::string doc, Gradient vjp) {
  return mapOp<F>({.name = std::move(name), .doc = std::move(doc), .inputs = {"x"}, .vjp = vjp, .saves = kSaveInputs});
}
/// A function of one variable whose gradient reads its result.
template <class F>
Op<None> byResult(std::string name, std::string doc, Gradient vjp) {
  return mapOp<F>(
      {.name = std::move(name), .doc = std::move(doc), .inputs = {"x"}, .vjp = vjp, .saves = {.outputs = {0}}});
}
template <class F>
Op<None> rounding(std::string name, const std::string& where) {
  return mapOp<F>({.name = std::move(name),
                   .doc = "`x` rounded " + where + ". Its gradient is zero.",
                   .inputs = {"x"},
                   .vjp = [](const V& v) { return Tensors{zerosLike(v.grad())}; }});
}

const Op<None> sigmoidGrad = gradientOp<scalar::SigmoidGrad>(
    "sigmoidGrad", "y", {}, [](const Args<None>& c) { return Tensors{c.in[0] * (1.0 - c.in[1]) * c.in[1]}; });
const Op<None> tanhGrad = gradientOp<scalar::TanhGrad>(
    "tanhGrad", "y", {}, [](const Args<None>& c) { return Tensors{c.in[0] * (1.0 - square(c.in[1]))}; });

}  // namespace

const Op<None> sqrt = byResult<scalar::Sqrt>("sqrt", "The square root of `x`; NaN below 0.",
                                             [](const V& v) { return Tensors{v.grad() / (v.out() * 2.0)}; });
const Op<None> rsqrt = byResult<scalar::Rsqrt>(
    "rsqrt", "`1 / sqrt(x)`.", [](const V& v) { return Tensors{v.grad() * (v.out() * square(v.out())) * -0.5}; });
const Op<None> exp =
    byResult<scalar::Exp>("exp", "The exponential of `x`.", [](const V& v) { return Tensors{v.grad() * v.out()}; });
const Op<None> expm1 = byResult<scalar::Expm1>("expm1", "`exp(x) - 1`, exact near 0.",
                                               [](const V& v) { return Tensors{v.grad() * (v.out() + 1.0)}; });
const Op<None> exp2 = byResult<scalar::Exp2>("exp2", "2 to the power of `x`.",
                                             [](const V& v) { return Tensors{v.grad() * v.out() * kLn2}; });
const Op<None> log =
    byInput<scalar::Log>("log", "The natural logarithm of `x`.", [](const V& v) { return Tensors{v.grad() / v.in()}; });
const Op<None> log1p = byInput<scalar::Log1p>("log1p", "`log(1 + x)`, exact near 0.",
                                              [](const V& v) { return Tensors{v.grad() / (v.in() + 1.0)}; });
const Op<None> log2 = byInput<scalar::Log2>("log2", "The logarithm of `x` to the base 2.",
                                            [](const V& v) { return Tensors{v.grad() / (v.in() * kLn2)}; });
const Op<None> log10 = byInput<scalar::Log10>("log10", "The logarithm of `x` to the base 10.",
                                              [](const V& v) { return Tensors{v.grad() / (v.in() * kLn10)}; });

const Op<None> sin = byInput<scalar::Sin>("sin", "The sine of `x`, in radians.",
                                          [](const V& v) { return Tensors{v.grad() * cos(v.in())}; });
const Op<None> cos = byInput<scalar::Cos>("cos", "The cosine of `x`, in radians.",
                                          [](const V& v) { return Tensors{-(v.grad() * sin(v.in()))}; });
const Op<None> tan = byResult<scalar::Tan>("tan", "The tangent of `x`, in radians.",
                                           [](const V& v) { return Tensors{v.grad() * (square(v.out()) + 1.0)}; });
const Op<None> asin = byInput<scalar::Asin>("asin", "The angle in radians whose sine is `x`.",
                                            [](const V& v) { return Tensors{v.grad() * rsqrt(1.0 - square(v.in()))}; });
const Op<None> acos = byInput<scalar::Acos>("acos", "The angle in radians whose cosine is `x`.", [](const V& v) {
  return Tensors{-(v.grad() * rsqrt(1.0 - square(v.in())))};
});
const Op<None> atan = byInput<scalar::Atan>("atan", "The angle in radians whose tangent is `x`.",
                                            [](const V& v) { return Tensors{v.grad() / (square(v.in()) + 1.0)}; });
const Op<None> sinh = byInput<scalar::Sinh>("sinh", "The hyperbolic sine of `x`.",
                                            [](const V& v) { return Tensors{v.grad() * cosh(v.in())}; });
const Op<None> cosh = byInput<scalar::Cosh>("cosh", "The hyperbolic cosine of `x`.",
                                            [](const V& v) { return Tensors{v.grad() * sinh(v.in())}; });
const Op<None> tanh = byResult<scalar::Tanh>("tanh", "The hyperbolic tangent of `x`.",
                                             [](const V& v) { return Tensors{tanhGrad(v.grad(), v.out())}; });
const Op<None> asinh = byInput<scalar::Asinh>(
    "asinh", "The inverse of `sinh`.", [](const V& v) { return Tensors{v.grad() * rsqrt(square(v.in()) + 1.0)}; });
const Op<None> acosh = byInput<scalar::Acosh>("acosh", "The inverse of `cosh`; NaN below 1.", [](const V& v) {
  return Tensors{v.grad() * rsqrt(square(v.in()) - 1.0)};
});
const Op<None> atanh = byInput<scalar::Atanh>("atanh", "The inverse of `tanh`.",
                                              [](const V& v) { return Tensors{v.grad() / (1.0 - square(v.in()))}; });

const Op<None> erf =
    byInput<scalar::Erf>("erf", "The error function, `2 / sqrt(pi)` times the integral of `exp(-t^2)` from 0 to `x`.",
                         [](const V& v) { return Tensors{v.grad() * exp(-square(v.in())) * kTwoOverRootPi}; });
const Op<None> erfc = byInput<scalar::Erfc>("erfc", "`1 - erf(x)`, exact where that is small.", [](const V& v) {
  return Tensors{v.grad() * exp(-square(v.in())) * -kTwoOverRootPi};
});
const Op<None> erfinv = byResult<scalar::Erfinv>(
    "erfinv", "The inverse of `erf`; infinite at -1 and 1, NaN beyond.",
    [](const V& v) { return Tensors{v.grad() * exp(square(v.out())) * (1 / kTwoOverRootPi)}; });
const Op<None> sigmoid = byResult<scalar::Sigmoid>("sigmoid", "The logistic function, `1 / (1 + exp(-x))`.",
                                                   [](const V& v) { return Tensors{sigmoidGrad(v.grad(), v.out())}; });

const Op<None> ceil = rounding<scalar::Ceil>("ceil", "up");
const Op<None> floor = rounding<scalar::Floor>("floor", "down");
const Op<None> round = rounding<scalar::Round>("round", "to the nearest integer, halves to the even one");
const Op<None> trunc = rounding<scalar::Trunc>("trunc", "towards 0");
const Op<None> frac({.name = "frac",
                     .doc = "What `trunc` takes off `x`, with its sign.",
                     .inputs = {"x"},
                     .lower = [](const Args<None>& c) { return Tensors{c.in[0] - trunc(c.in[0])}; }});

const ComputeIn precision(Precision::Full, {"exp", "expm1", "log", "log1p", "log2", "log10", "rsqrt", "reciprocal",
                                            "erfinv", "tan", "acos", "asin", "cosh", "sinh"});

}  // namespace anneal::ops
