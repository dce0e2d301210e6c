#pragma once
// Elementwise functors, written once for every backend. A functor takes values of the type that kernels compute in
// (float, double, int32, int64) and returns that type, or bool. `floats` marks those that take floats only. A functor
// with numbers of its own is built from them (`explicit F(const double*)`); the attributes of its op say with `params`
// what they are.
#include "cpu/functors_activation.h"
#include "cpu/functors_arithmetic.h"
#include "cpu/functors_logic.h"
#include "cpu/functors_math.h"

namespace anneal::scalar {

template <class... F>
struct List {};

/// The place of F in a list, or -1.
template <class F, class... All>
constexpr int indexOf(List<All...>) {
  int found = -1, i = 0;
  ((std::is_same_v<F, All> ? void(found = i++) : void(++i)), ...);
  return found;
}

using Unary = List<Copy, Neg, Abs, Sign, Square, Cube, Reciprocal, Sqrt, Rsqrt, Exp, Expm1, Exp2, Log, Log1p, Log2,
                   Log10, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh, Asinh, Acosh, Atanh, Erf, Erfc, Erfinv,
                   Ceil, Floor, Round, Trunc, IsNan, IsInf, IsFinite, LogicalNot, BitwiseNot, Clamp, Relu, LeakyRelu,
                   Elu, Gelu, GeluTanh, Silu, Mish, Sigmoid, LogSigmoid, Softplus, HardSwish, HardSigmoid>;
using Binary =
    List<Add, Sub, Mul, Div, FloorDiv, Mod, Fmod, Pow, Maximum, Minimum, Atan2, Hypot, Equal, NotEqual, Less, LessEqual,
         Greater, GreaterEqual, IsClose, LogicalAnd, LogicalOr, LogicalXor, BitwiseAnd, BitwiseOr, BitwiseXor,
         ShiftLeft, ShiftRight, ClampGrad, HardTanhGrad, ReluGrad, LeakyReluGrad, EluGrad, GeluGrad, GeluTanhGrad,
         SiluGrad, MishGrad, SigmoidGrad, TanhGrad, SoftplusGrad, HardSwishGrad, HardSigmoidGrad>;
using Ternary = List<Where, Lerp>;

}  // namespace anneal::scalar
