#pragma once
#include "cpu/fused.h"
#include "op/define.h"
#include "ops/norm.h"

namespace anneal::passes {

// Inputs of a chain that a GPU computes with a norm or its gradient: more would not fit into a thread's registers.
inline constexpr size_t kMostNormInputs = 6;

/// A chain whose result is normalised row by row. Inputs: weight, bias, those of the chain. Outputs: those of the
/// chain, then the normalised rows, unless they take the place of the ones that nobody else reads.
struct NormAfter {
  cpu::Chain chain;
  ops::NormalizeRows rows;
  int64_t width = 0;
  size_t from = 0;                               // the output of the chain
  mutable std::shared_ptr<const void> prepared;  // by the backend that is to run it, when its program is planned
};
extern const Op<NormAfter> normAfter;

}  // namespace anneal::passes
