#pragma once
#include "cpu/fused.h"
#include "graph/graph.h"
#include "op/define.h"
#include "ops/norm.h"

namespace anneal::passes {

// Inputs of the chains that a GPU computes with a norm or its gradient, and of what it computes before a gradient: more
// would not fit into a thread's registers.
inline constexpr size_t kMostNormInputs = 6, kMostGradientInputs = 4;

/// A chain whose result is normalised row by row; on a GPU also one whose result is the gradient that goes back through
/// a norm. Inputs: the norm's but for the chain's result (of two, if it has no bias), those of the chain. Outputs:
/// those of the chain, then the norm's, of which the first takes the place of what it is made from if nobody else reads
/// that.
struct NormAfter {
  const Row* row = nullptr;  // the norm
  cpu::Chain chain;
  DType dtype = DType::Float32;  // of the rows
  ops::NormalizeRows rows;
  int64_t width = 0;
  size_t from = 0;                               // the output of the chain
  size_t result = 0;                             // the output that is the norm's first
  mutable std::shared_ptr<const void> prepared;  // by the backend that is to run it, when its program is planned
};
extern const Op<NormAfter> normAfter;

/// How many inputs of these are the norm's.
inline constexpr size_t kNormInputs = 2;

/// Whether it is a norm of rows or the gradient of one.
bool isRowNorm(const Row* row);
/// What it does to rows; `attrs` are its own, its first result is of `dtype`.
ops::NormalizeRows rowsOf(const Row* norm, const void* attrs, DType dtype);
/// How many elements such a norm's rows have.
int64_t normWidth(const Operation& norm);

}  // namespace anneal::passes
