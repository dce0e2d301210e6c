#include <algorithm>

#include "graph/passes/passes.h"

namespace anneal::passes {

void hoist(Graph& graph) {
  std::vector<bool> result(graph.values.size());
  forEachResult(graph, [&](int value) { result[size_t(value)] = true; });
  std::vector<Operation> rest;
  for (Operation& op : graph.operations) {
    auto in = op.in();
    auto out = op.out();
    const bool moves = !op.row->donor &&
                       std::all_of(in.begin(), in.end(), [&](const Operand& o) { return lasting(graph, o); }) &&
                       std::none_of(out.begin(), out.end(), [&](const Operand& o) { return result[size_t(o.value)]; });
    if (moves)
      for (const Operand& o : out) graph.values[size_t(o.value)].kind = Value::Kind::Kept;
    (moves ? graph.prologue : rest).push_back(std::move(op));
  }
  graph.operations = std::move(rest);
}

}  // namespace anneal::passes
