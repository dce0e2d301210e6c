#pragma once
#include "ops/crossentropy.h"

namespace anneal::ops {

/// The cross-entropy of a linear layer's outputs, which are never held all at once.
extern const Op<CrossEntropy> linearCrossEntropy;

struct LinearCrossEntropy : CrossEntropy {
  bool gradients = false;  // compute them too
};
/// The loss and, if asked for, its gradients with respect to x, weight and bias.
extern const Op<LinearCrossEntropy> linearCrossEntropyParts;

}  // namespace anneal::ops
