#include "ops/arithmetic.h"

#include <algorithm>

#include "cpu/convert.h"
#include "op/precision.h"
#include "ops/elementwise.h"
#include "ops/logic.h"
#include "ops/math.h"
#include "ops/operators.h"

namespace anneal::ops {
namespace {

using V = Vjp<None>;

/// The gradient of the larger (or smaller) of two: all of it to the one, halves to equals.
Tensors selectVjp(const V& v, const Op<None>& loses) {
  const Tensor &a = v.in(0), &b = v.in(1), &g = v.grad();
  Tensor shared = where(equal(a, b), g * 0.5, g), none = number(0);
  return {v.need(0) ? where(loses(a, b), none, shared) : Tensor(),
          v.need(1) ? where(loses(b, a), none, shared) : Tensor()};
}

/// Integers have no quotient by 0.
void checkDivisors(const char* op, const View& divisor) {
  if (isFloat(divisor.dtype)) return;
  std::vector<int64_t> values(size_t(divisor.size()));
  View wide{.memory = reinterpret_cast<std::byte*>(values.data()),
            .shape = divisor.shape,
            .strides = contiguousStrides(divisor.shape),
            .dtype = DType::Int64};
  cpu::convertTensor(divisor, wide);
  require(std::find(values.begin(), values.end(), 0) == values.end(), Code::Value, op,
          ": division of an integer by zero; expected divisors other than 0");
}

void floorDivCpu(const Call<None>& call) {
  if (!isFloat(call.out[0].dtype)) checkDivisors("floorDiv", call.in[1]);
  cpu::mapKernel<scalar::FloorDiv, None>(call);
}
void modCpu(const Call<None>& call) {
  if (!isFloat(call.out[0].dtype)) checkDivisors("mod", call.in[1]);
  cpu::mapKernel<scalar::Mod, None>(call);
}
void fmodCpu(const Call<None>& call) {
  if (!isFloat(call.out[0].dtype)) checkDivisors("fmod", call.in[1]);
  cpu::mapKernel<scalar::Fmod, None>(call);
}
const Implement<None> floorDivOnCpu("floorDiv", DeviceType::Cpu, floorDivCpu);
const Implement<None> modOnCpu("mod", DeviceType::Cpu, modCpu);
const Implement<None> fmodOnCpu("fmod", DeviceType::Cpu, fmodCpu);

/// The functor that a floating-point power by one number amounts to, if it is a simpler one.
const cpu::LoopSet* simplePower(double exponent) {
  static const cpu::LoopSet copy = cpu::loops<scalar::Copy>(), square = cpu::loops<scalar::Square>(),
                            cube = cpu::loops<scalar::Cube>(), root = cpu::loops<scalar::Sqrt>(),
                            inverse = cpu::loops<scalar::Reciprocal>(), inverseRoot = cpu::loops<scalar::Rsqrt>();
  if (exponent == 1) return &copy;
  if (exponent == 2) return &square;
  if (exponent == 3) return &cube;
  if (exponent == -0.5) return &inverseRoot;
  if (exponent == -1) return &inverse;
  return exponent == 0.5 ? &root : nullptr;
}

void powCpu(const Call<None>& call) {
  const View &exponent = call.in[1], &out = call.out[0];
  if (isFloat(out.dtype) && exponent.size() == 1) {
    double value = 0;
    cpu::converter(exponent.dtype, DType::Float64)(exponent.data(), 1, &value, 1, 1);
    if (const auto* simple = simplePower(value))
      return cpu::mapTiles(*simple, nullptr, computeType(out.dtype), call.in.first(1), out);
  }
  cpu::mapKernel<scalar::Pow, None>(call);
}
const Implement<None> powOnCpu("pow", DeviceType::Cpu, powCpu);

Tensors powVjp(const V& v) {
  const Tensor &a = v.in(0), &b = v.in(1), &g = v.grad();
  Tensor ga, gb, zero = number(0);
  if (v.need(0)) {
    // x^0 is flat, also at 0 where the formula is 0 * infinity.
    ga = g * b * pow(a, b - 1.0);
    ga = where(equal(b, zero), zero, ga);
  }
  if (v.need(1)) gb = where(logicalAnd(equal(a, zero), b >= 0.0), zero, g * v.out() * log(a));
  return {ga, gb};
}

Specs inferPow(const Args<None>& c) {
  Specs specs = inferMap(c);
  require(specs[0].dtype != DType::Bool, Code::DType, c.op, ": expected numbers; got bool");
  return specs;
}

Specs inferClamp(const Args<Clamp>& c) {
  // A bound with a fraction promotes integers, as a number literal does.
  auto fractional = [](const std::optional<double>& v) { return v && *v != std::floor(*v); };
  DType dtype = c.in[0].dtype();
  if (fractional(c.attrs.min) || fractional(c.attrs.max)) dtype = toFloat(dtype);
  return {{c.in[0].shape(), dtype}};
}

const Op<Clamp> clampGrad = gradientOp<scalar::ClampGrad, Clamp>(
    "clampGrad", "x", {field<&Clamp::min>("min", "the lower bound"), field<&Clamp::max>("max", "the upper bound")},
    [](const Args<Clamp>& c) {
      const Tensor& x = c.in[1];
      Tensor inside = logicalAnd(x >= c.attrs.min.value_or(-INFINITY), x <= c.attrs.max.value_or(INFINITY));
      return Tensors{where(inside, c.in[0], number(0))};
    });

}  // namespace

const Op<None> add =
    mapOp<scalar::Add>({.name = "add", .doc = "The sum `a + b`.", .inputs = {"a", "b"}, .vjp = [](const V& v) {
                          return Tensors{v.grad(), v.grad()};
                        }});

const Op<None> sub =
    mapOp<scalar::Sub>({.name = "sub", .doc = "The difference `a - b`.", .inputs = {"a", "b"}, .vjp = [](const V& v) {
                          return Tensors{v.grad(), v.need(1) ? -v.grad() : Tensor()};
                        }});

const Op<None> mul = mapOp<scalar::Mul>(
    {.name = "mul",
     .doc = "The product `a * b`, element by element.",
     .inputs = {"a", "b"},
     .vjp =
         [](const V& v) {
           return Tensors{v.need(0) ? v.grad() * v.in(1) : Tensor(), v.need(1) ? v.grad() * v.in(0) : Tensor()};
         },
     .saves = kSaveInputs});

const Op<None> div = mapOp<scalar::Div>({.name = "div",
                                         .doc = "The quotient `a / b`; integers become float32 first.",
                                         .inputs = {"a", "b"},
                                         .vjp =
                                             [](const V& v) {
                                               Tensor ga = v.grad() / v.in(1);
                                               return Tensors{ga, v.need(1) ? -(ga * v.out()) : Tensor()};
                                             },
                                         .saves = {.inputs = {1}, .outputs = {0}}});

const Op<None> floorDiv(
    {.name = "floorDiv",
     .doc = "The quotient `a / b` rounded down, in the dtype of the operands. Its gradient is zero. "
            "Integers divided by 0 are an error (ERR_VALUE).",
     .inputs = {"a", "b"},
     .infer = inferMap<None>,
     .vjp =
         [](const V& v) {
           return Tensors{zerosLike(v.grad()), zerosLike(v.grad())};
         },
     .anyStrides = true});

const Op<None> mod({.name = "mod",
                    .doc = "The remainder of `a / b` with the sign of `b`, as Python's `%`: `a - b * floorDiv(a, b)`. "
                           "Integers divided by 0 are an error (ERR_VALUE).",
                    .inputs = {"a", "b"},
                    .infer = inferMap<None>,
                    .vjp =
                        [](const V& v) {
                          return Tensors{v.grad(), v.need(1) ? -(v.grad() * floorDiv(v.in(0), v.in(1))) : Tensor()};
                        },
                    .saves = kSaveInputs,
                    .anyStrides = true});

const Op<None> fmod(
    {.name = "fmod",
     .doc = "The remainder of `a / b` with the sign of `a`, as JavaScript's `%`. Integers divided by 0 are an "
            "error (ERR_VALUE).",
     .inputs = {"a", "b"},
     .infer = inferMap<None>,
     .vjp =
         [](const V& v) {
           return Tensors{v.grad(), v.need(1) ? -(v.grad() * trunc(v.in(0) / v.in(1))) : Tensor()};
         },
     .saves = kSaveInputs,
     .anyStrides = true});

const Op<None> pow(
    {.name = "pow",
     .doc = "`a` to the power of `b`. Integers stay integers: negative powers of them are 0, but for those of 1 "
            "and -1.",
     .inputs = {"a", "b"},
     .infer = inferPow,
     .vjp = powVjp,
     .saves = {.outputs = {0}, .allInputs = true},
     .anyStrides = true});

const Op<None> maximum =
    mapOp<scalar::Maximum>({.name = "maximum",
                            .doc = "The larger of `a` and `b`; NaN if either is. Equals share the gradient.",
                            .inputs = {"a", "b"},
                            .vjp = [](const V& v) { return selectVjp(v, less); },
                            .saves = kSaveInputs});

const Op<None> minimum =
    mapOp<scalar::Minimum>({.name = "minimum",
                            .doc = "The smaller of `a` and `b`; NaN if either is. Equals share the gradient.",
                            .inputs = {"a", "b"},
                            .vjp = [](const V& v) { return selectVjp(v, greater); },
                            .saves = kSaveInputs});

const Op<None> atan2 = mapOp<scalar::Atan2>(
    {.name = "atan2",
     .doc = "The angle in radians, from -pi to pi, of the point (`x`, `y`). Its gradient at (0, 0) is 0.",
     .inputs = {"y", "x"},
     .vjp =
         [](const V& v) {
           const Tensor &y = v.in(0), &x = v.in(1);
           Tensor distance = square(x) + square(y);
           Tensor g = v.grad() / where(equal(distance, number(0)), number(1), distance);
           return Tensors{v.need(0) ? g * x : Tensor(), v.need(1) ? -(g * y) : Tensor()};
         },
     .saves = kSaveInputs});

const Op<None> hypot =
    mapOp<scalar::Hypot>({.name = "hypot",
                          .doc = "`sqrt(a^2 + b^2)` without overflow on the way.",
                          .inputs = {"a", "b"},
                          .vjp =
                              [](const V& v) {
                                return Tensors{v.need(0) ? v.grad() * (v.in(0) / v.out()) : Tensor(),
                                               v.need(1) ? v.grad() * (v.in(1) / v.out()) : Tensor()};
                              },
                          .saves = {.outputs = {0}, .allInputs = true}});

const Op<None> neg =
    mapOp<scalar::Neg>({.name = "neg", .doc = "The negative of `x`.", .inputs = {"x"}, .vjp = [](const V& v) {
                          return Tensors{-v.grad()};
                        }});

const Op<None> abs = mapOp<scalar::Abs>({.name = "abs",
                                         .doc = "The absolute value of `x`; its gradient at 0 is 0.",
                                         .inputs = {"x"},
                                         .vjp = [](const V& v) { return Tensors{v.grad() * sign(v.in())}; },
                                         .saves = kSaveInputs});

const Op<None> sign = mapOp<scalar::Sign>({.name = "sign",
                                           .doc = "-1, 0 or 1 by the sign of `x`; 0 for NaN. Its gradient is zero.",
                                           .inputs = {"x"},
                                           .vjp = [](const V& v) { return Tensors{zerosLike(v.grad())}; }});

const Op<None> square = mapOp<scalar::Square>({.name = "square",
                                               .doc = "`x * x`.",
                                               .inputs = {"x"},
                                               .vjp = [](const V& v) { return Tensors{v.grad() * v.in() * 2.0}; },
                                               .saves = kSaveInputs});

const Op<None> reciprocal =
    mapOp<scalar::Reciprocal>({.name = "reciprocal",
                               .doc = "`1 / x`; integers become float32 first.",
                               .inputs = {"x"},
                               .vjp = [](const V& v) { return Tensors{-(v.grad() * square(v.out()))}; },
                               .saves = {.outputs = {0}}});

const Op<Clamp> clamp = mapOp<scalar::Clamp, Clamp>(
    {.name = "clamp",
     .doc = "`x` limited to the range from `min` to `max`, either of which may be absent; NaN stays. The gradient is 0 "
            "outside. "
            "For bounds that are tensors see `maximum` and `minimum`.",
     .inputs = {"x"},
     .attrs = {field<&Clamp::min>("min", "the lower bound"), field<&Clamp::max>("max", "the upper bound")},
     .infer = inferClamp,
     .vjp = [](const Vjp<Clamp>& v) { return Tensors{clampGrad(v.grad(), v.in(), v.attrs)}; },
     .saves = kSaveInputs});

const Op<None> lerp =
    mapOp<scalar::Lerp>({.name = "lerp",
                         .doc = "The linear interpolation `a + weight * (b - a)`, exact at both ends.",
                         .inputs = {"a", "b", "weight"},
                         .vjp =
                             [](const V& v) {
                               const Tensor &g = v.grad(), &w = v.in(2);
                               return Tensors{v.need(0) ? g * (1.0 - w) : Tensor(), v.need(1) ? g * w : Tensor(),
                                              v.need(2) ? g * (v.in(1) - v.in(0)) : Tensor()};
                             },
                         .saves = kSaveInputs});

const Op<Scaled> addcmul({.name = "addcmul",
                          .doc = "`x + value * a * b`.",
                          .inputs = {"x", "a", "b"},
                          .attrs = {field<&Scaled::value>("value", "the factor of the product")},
                          .lower = [](const Args<Scaled>& c) {
                            return Tensors{c.in[0] + c.in[1] * c.in[2] * c.attrs.value};
                          }});

const Op<Scaled> addcdiv({.name = "addcdiv",
                          .doc = "`x + value * a / b`.",
                          .inputs = {"x", "a", "b"},
                          .attrs = {field<&Scaled::value>("value", "the factor of the quotient")},
                          .lower = [](const Args<Scaled>& c) {
                            return Tensors{c.in[0] + c.in[1] / c.in[2] * c.attrs.value};
                          }});

const ComputeIn precision(Precision::Full, {"pow"});

}  // namespace anneal::ops
