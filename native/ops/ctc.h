#pragma once
#include "ops/crossentropy.h"

namespace anneal::ops {

struct CtcLoss {
  int64_t blank = 0;
  LossReduction reduction = LossReduction::Mean;
  bool zeroInfinity = false;
};
extern const Op<CtcLoss> ctcLoss;
/// What ctcLoss and its gradient are made of: the loss of each sample, and the logarithms of the forward variables.
extern const Op<CtcLoss> ctcLossParts, ctcLossGrad;

}  // namespace anneal::ops
