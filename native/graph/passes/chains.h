#pragma once
#include "cpu/fused_totals.h"
#include "graph/passes/passes.h"
#include "op/define.h"

namespace anneal::passes {

// Operations that may lie between two that are joined: moving one further would keep its inputs alive for longer.
inline constexpr int kReach = 12;

/// An operation made of elementwise ones.
struct Joined {
  cpu::Chain chain;
  mutable std::shared_ptr<const void> prepared;  // by the backend that is to run it, when its program is planned
};
extern const Op<Joined> joined;

/// A chain with totals of one of its results. Outputs: those of the chain, then the totals.
struct ChainTotals {
  cpu::Chain chain;
  Shape shape;
  cpu::Totals totals;
  mutable std::shared_ptr<const void> prepared;  // as that of Joined
};
extern const Op<ChainTotals> chainTotals;

/// Whether chains can run on the graph's device.
bool fuses(const Graph& graph);
/// What an elementwise operation computes, but for the registers.
cpu::Chain::Instruction instructionOf(const Operation& op);
/// What a chain reads for the operation's input `k`. Of a dropout's key it gets the place, as of a number.
Operand inputOf(const Operation& op, size_t k);

/// Whether the operation can be part of a chain. On the CPU those that compute in the type of their results can, which
/// is then that of the whole chain; on a GPU dropout can, too.
bool joinable(const Graph& graph, const Operation& op);
/// Whether asChain() takes it.
inline bool isChain(const Graph& graph, const Operation& op) { return op.row == &joined.row() || joinable(graph, op); }
/// A `joined` or joinable operation as a `joined` one.
Operation asChain(const Operation& op);

}  // namespace anneal::passes
