#pragma once
#include "op/define.h"

namespace anneal::ops {

struct ArgReduce {
  std::optional<int64_t> axis;
  bool keepDims = false;
};
extern const Op<ArgReduce> argmax, argmin;

}  // namespace anneal::ops
