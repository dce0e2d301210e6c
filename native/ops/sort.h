#pragma once
#include "op/define.h"

namespace anneal::ops {

struct Sort {
  int64_t axis = -1;
  bool descending = false;
};
/// Values and indices; indices alone.
extern const Op<Sort> sort, argsort;

struct TopK {
  int64_t k = 0;
  int64_t axis = -1;
  bool largest = true;
};
extern const Op<TopK> topK;

}  // namespace anneal::ops
