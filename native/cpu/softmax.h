#pragma once
#include "runtime/task.h"

namespace anneal::cpu {

enum class SoftmaxKind { Softmax, LogSoftmax, SoftmaxGrad, LogSoftmaxGrad };

/// Softmax, its logarithm, or the gradients of those along `axis`: `a` is x, or for a gradient the result, and `b` the
/// result's gradient. All are contiguous and of one dtype; 16-bit floats are computed in float32.
void softmax(SoftmaxKind kind, const View& a, const View& b, int axis, const View& out);

}  // namespace anneal::cpu
