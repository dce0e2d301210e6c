#pragma once
#include "op/define.h"

namespace anneal::ops {

enum class LossReduction { Mean, Sum, None };
inline const std::vector<std::string> kLossReductions{"mean", "sum", "none"};
inline const char* const kLossReductionDoc =
    "what becomes of the losses: their mean, their sum, or all of them as they are";

struct CrossEntropy {
  double labelSmoothing = 0;
  int64_t ignoreIndex = -100;
  LossReduction reduction = LossReduction::Mean;
};
extern const Op<CrossEntropy> crossEntropy;
/// What crossEntropy and its gradient are made of: the loss; of each row the log-sum-exp and the weight of its target;
/// and the number by which a mean divides.
extern const Op<CrossEntropy> crossEntropyParts, crossEntropyGrad;

}  // namespace anneal::ops
