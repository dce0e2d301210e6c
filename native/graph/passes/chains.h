#pragma once
#include "cpu/fused.h"
#include "graph/passes/passes.h"
#include "op/define.h"

namespace anneal::passes {

// Operations that may lie between two that are joined: moving one further would keep its inputs alive for longer.
inline constexpr int kReach = 12;

/// An operation made of elementwise ones.
struct Joined {
  cpu::Chain chain;
};
extern const Op<Joined> joined;

/// Whether an elementwise operation computes in the type of its result, as a chain does throughout.
bool joinable(const Graph& graph, const Operation& op);
/// Whether asChain() takes it.
inline bool isChain(const Graph& graph, const Operation& op) { return op.row == &joined.row() || joinable(graph, op); }
/// A `joined` or joinable operation as a `joined` one.
Operation asChain(const Operation& op);

}  // namespace anneal::passes
