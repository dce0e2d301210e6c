#include <map>

#include "cpu/elementwise.h"
#include "graph/passes/passes.h"
#include "graph/passes/updates.h"
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

namespace {

/// What an operation reads as gradients, in whatever float dtype.
std::span<Operand> gradientsRead(Operation& op) {
  return op.row == &ops::globalNorm.row() ? op.in() : (updatedBy(op) ? gradientsOf(op) : std::span<Operand>());
}

/// The operand of 16 bits that a cast to float32 makes `value` of, as it lies; or null.
const Operand* widened(const Graph& graph, const Uses& uses, int value) {
  const int writer = value < 0 ? -1 : uses.writer[size_t(value)];
  if (writer < 0 || uses.kept[size_t(value)]) return nullptr;
  const Operation& op = graph.operations[size_t(writer)];
  if (op.row != &ops::cast.row() || op.out()[0].view.dtype != DType::Float32) return nullptr;
  const Operand& from = op.in()[0];
  const bool narrow = isFloat(from.view.dtype) && itemSize(from.view.dtype) == 2;
  return narrow && from.value >= 0 && from.whole(graph.values[size_t(from.value)]) ? &from : nullptr;
}

}  // namespace

void narrowGradients(Graph& graph) {
  const Uses uses(graph);
  std::map<int, size_t> reads;  // of a value, as a gradient
  for (Operation& op : graph.operations)
    for (const Operand& o : gradientsRead(op))
      if (o.value >= 0 && o.whole(graph.values[size_t(o.value)])) ++reads[o.value];
  for (Operation& op : graph.operations)
    for (Operand& o : gradientsRead(op)) {
      const auto found = reads.find(o.value);
      const Operand* from = found == reads.end() ? nullptr : widened(graph, uses, o.value);
      // If somebody else reads it the cast stays, and nothing is saved.
      if (from && uses.readers[size_t(o.value)].size() == found->second) o = *from;
    }
  removeDead(graph);
}

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
