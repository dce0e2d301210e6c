#include <algorithm>
#include <map>

#include "cpu/elementwise.h"
#include "graph/passes/passes.h"
#include "op/define.h"
#include "ops/arithmetic.h"

namespace anneal::passes {
namespace {

void castAllCpu(const Call<None>& call) {
  for (size_t i = 0; i < call.in.size(); ++i) cpu::convertTensor(call.in[i], call.out[i]);
}
const Implement<None> castAllOnCpu("castAll", DeviceType::Cpu, castAllCpu);

/// Whether it rounds a whole parameter to 16 bits. What is recomputed stays where it is, to be of use only there.
bool roundsParameter(const Graph& graph, const Operation& op) {
  if (op.row != &ops::cast.row() || op.region != 0 || op.in()[0].value < 0) return false;
  const Operand& from = op.in()[0];
  const Value& v = graph.values[size_t(from.value)];
  return v.kind == Value::Kind::Cell && from.whole(v) && from.view.dtype == DType::Float32 &&
         itemSize(op.out()[0].view.dtype) == 2;
}

}  // namespace

const Op<None> castAll({.name = "castAll",
                        .doc = "Conversions of many tensors at once; made when a graph is planned.",
                        .inputs = {"tensors..."},
                        .outputs = {"results..."},
                        .nonDifferentiable = true,
                        .method = false,
                        .internal = true});

void joinCasts(Graph& graph) {
  std::map<DType, std::vector<size_t>> casts;  // by what they give
  for (size_t i = 0; i < graph.operations.size(); ++i)
    if (roundsParameter(graph, graph.operations[i])) casts[graph.operations[i].out()[0].view.dtype].push_back(i);
  std::vector<bool> taken(graph.operations.size());
  for (const auto& [dtype, members] : casts) {
    if (members.size() < 2) continue;
    Operation all{.row = &castAll.row(), .attrs = std::make_shared<None>()};
    for (const size_t i : members) {
      all.operands.push_back(graph.operations[i].in()[0]);
      all.cost += graph.operations[i].cost;
      taken[i] = i != members[0];
    }
    all.inputs = members.size();
    for (const size_t i : members) all.operands.push_back(graph.operations[i].out()[0]);
    all.note = "casts of parameters";
    graph.operations[members[0]] = std::move(all);
  }
  std::vector<Operation> rest;
  for (size_t i = 0; i < graph.operations.size(); ++i)
    if (!taken[i]) rest.push_back(std::move(graph.operations[i]));
  graph.operations = std::move(rest);
}

}  // namespace anneal::passes
