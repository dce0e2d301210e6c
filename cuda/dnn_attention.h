#pragma once
// What cuDNN is asked of attention: a graph of products, reductions and elementwise operations, which its engines know
// as attention and compute in one pass.
#include <vector>

#include "dnn_plan.h"
#include "flash.h"

namespace anneal::cuda {

/// Attention of heads of 16 bits [batch, heads, time, depth] without a mask or dropout, or its gradients. Views are
/// those of flashOnTensorCores and flashGradOnTensorCores.
struct AttentionProblem {
  bool gradients, causal;
  float scale;
  View q, k, v, out, logSumExp;
  View grad, dq, dk, dv;  // with `gradients`

  AttentionProblem(const FlashCall& call, const View& out, const View& logSumExp);
  AttentionProblem(const FlashCall& call, const View& out, const View& logSumExp, const View& grad, const View& dq,
                   const View& dk, const View& dv);
  /// Whether all of it can be described: rows that nothing else lies in, at multiples of 16 bytes.
  bool describable() const;
  double work() const;
  /// What plans depend on.
  std::vector<int64_t> key() const;
};

/// Its description. Throws Refused where cuDNN does not take it.
Descriptor graphOf(const AttentionProblem& p, cudnnHandle_t handle);

/// Where its operands lie; `sums` are of floats, one for each query. Numbers are read from the problem by then.
DnnOperands operandsOf(const AttentionProblem& p, void* sums);

}  // namespace anneal::cuda
