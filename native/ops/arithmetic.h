#pragma once
#include "op/define.h"

namespace anneal::ops {

struct Cast {
  DType dtype = DType::Float32;
};

extern const Op<None> greater, add, sub, mul, div, neg, exp, log, relu;
extern const Op<Cast> cast;


}  // namespace anneal::ops
