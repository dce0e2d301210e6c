#pragma once
#include "op/define.h"

namespace anneal::ops {

struct Along {
  int64_t axis = -1;
};
extern const Op<Along> softmax, logSoftmax;
/// The gradients of both, from the result and its gradient.
extern const Op<Along> softmaxGrad, logSoftmaxGrad;

}  // namespace anneal::ops
