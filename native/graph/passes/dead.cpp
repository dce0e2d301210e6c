#include <algorithm>

#include "graph/passes/passes.h"

namespace anneal::passes {

Uses::Uses(const Graph& graph)
    : writer(graph.values.size(), -1), readers(graph.values.size()), kept(graph.values.size()) {
  for (size_t i = 0; i < graph.operations.size(); ++i) {
    for (const Operand& o : graph.operations[i].in())
      if (o.value >= 0) readers[size_t(o.value)].push_back(int(i));
    for (const Operand& o : graph.operations[i].out()) writer[size_t(o.value)] = int(i);
  }
  forEachResult(graph, [&](int value) { kept[size_t(value)] = true; });
}

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
