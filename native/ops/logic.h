#pragma once
#include "op/define.h"

namespace anneal::ops {

extern const Op<None> logicalNot, logicalAnd, logicalOr, logicalXor;
extern const Op<None> bitwiseNot, bitwiseAnd, bitwiseOr, bitwiseXor, shiftLeft, shiftRight;
extern const Op<None> isNan, isInf, isFinite;
/// where(condition, a, b)
extern const Op<None> where;

}  // namespace anneal::ops
