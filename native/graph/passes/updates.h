#pragma once
#include "graph/graph.h"
#include "ops/optimizers.h"

namespace anneal::passes {

/// How many parameters an operation updates; 0: it is no update.
inline size_t updatedBy(const Operation& op) { return ops::updatedBy(*op.row, op.inputs, op.out().size()); }

/// The gradients that an update reads.
template <class O>
auto gradientsOf(O& update) {
  const size_t n = updatedBy(update);
  return update.in().subspan(ops::UpdateInputs::Tensors + n, n);
}

}  // namespace anneal::passes
