#pragma once
#include "op/define.h"

namespace anneal::ops {

struct Reduce {
  std::optional<Ints> axis;
  bool keepDims = false;
};
extern const Op<Reduce> sum;

struct SumTo {
  Ints shape;
};
extern const Op<SumTo> sumTo;

}  // namespace anneal::ops
