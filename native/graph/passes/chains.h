#pragma once
#include "cpu/fused.h"
#include "graph/passes/passes.h"
#include "op/define.h"

namespace anneal::passes {

/// An operation made of elementwise ones.
struct Joined {
  cpu::Chain chain;
};
extern const Op<Joined> joined;

/// Whether an elementwise operation computes in the type of its result, as a chain does throughout.
bool joinable(const Graph& graph, const Operation& op);
/// A `joined` or joinable operation as a `joined` one.
Operation asChain(const Operation& op);

}  // namespace anneal::passes
