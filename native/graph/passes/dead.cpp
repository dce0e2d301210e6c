#include <algorithm>

#include "graph/passes/passes.h"

namespace anneal::passes {

void removeDead(Graph& graph) {
  std::vector<bool> needed(graph.values.size());
  forEachResult(graph, [&](int value) { needed[size_t(value)] = true; });
  std::vector<Operation> kept;
  for (auto op = graph.operations.rbegin(); op != graph.operations.rend(); ++op) {
    auto out = op->out();
    if (std::none_of(out.begin(), out.end(), [&](const Operand& o) { return needed[size_t(o.value)]; })) continue;
    for (const Operand& o : op->in())
      if (o.value >= 0) needed[size_t(o.value)] = true;
    kept.push_back(std::move(*op));
  }
  std::reverse(kept.begin(), kept.end());
  graph.operations = std::move(kept);
}

}  // namespace anneal::passes
