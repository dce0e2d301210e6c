#pragma once
// What cuDNN is asked: a convolution, or a gradient of one, as a graph of one operation.
#include <vector>

#include "dnn.h"
#include "dnn_descriptor.h"

namespace anneal::cuda {

constexpr int64_t kImage = 1, kWeight = 2, kResult = 3;  // names of the operands

/// A convolution, or one of its gradients, of data that lie there.
struct ConvProblem {
  ConvWay way;
  cpu::ConvShape shape;  // with two spatial axes at least: see widened()
  DType dtype;
  void *x, *weight, *y;

  double work() const;
  int64_t alignment(const void* at) const {
    return reinterpret_cast<uintptr_t>(at) % 16 == 0 ? 16 : int64_t(itemSize(dtype));
  }
  /// What plans depend on.
  std::vector<int64_t> key() const;
};

/// With two spatial axes at least: fewer are not known to cuDNN.
cpu::ConvShape widened(cpu::ConvShape s);

/// Its description. Throws Refused where cuDNN does not take it.
Descriptor operationOf(const ConvProblem& p);

}  // namespace anneal::cuda
