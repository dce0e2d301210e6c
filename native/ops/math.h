#pragma once
#include "op/define.h"

namespace anneal::ops {

extern const Op<None> sqrt, rsqrt, exp, expm1, exp2, log, log1p, log2, log10;
extern const Op<None> sin, cos, tan, asin, acos, atan, sinh, cosh, tanh, asinh, acosh, atanh;
extern const Op<None> erf, erfc, erfinv, sigmoid;
extern const Op<None> ceil, floor, round, trunc, frac;

}  // namespace anneal::ops
