#include "cpu/convert.h"
#include "graph/passes/passes.h"

namespace anneal::passes {
namespace {

/// Whether an operand is one number everywhere, known now.
bool isNumber(const Operand& o, double number) {
  if (o.value >= 0 || !o.view.defined || o.view.size() != 1) return false;
  return visitType(o.view.dtype,
                   [&]<class T>(TypeTag<T>) { return cpu::convertTo<double>(*o.view.as<T>()) == number; });
}

/// The input that the operation hands on as it is, or -1.
int handedOn(const Operation& op) {
  const std::string& name = op.row->name;
  if (name == "contiguous") return 0;
  if (name == "cast") return 0;  // to the same dtype: the caller compares
  if (name == "mul" && isNumber(op.in()[0], 1)) return 1;
  if ((name == "mul" || name == "div" || name == "pow") && isNumber(op.in()[1], 1)) return 0;
  if (name == "sub" && isNumber(op.in()[1], 0)) return 0;
  return -1;
}

}  // namespace

void simplify(Graph& graph) {
  std::vector<bool> result(graph.values.size());
  forEachResult(graph, [&](int value) { result[size_t(value)] = true; });
  Renaming renaming(graph);
  for (Operation& op : graph.operations) {
    renaming.apply(op);
    const int input = handedOn(op);
    if (input < 0 || op.in()[size_t(input)].value < 0) continue;
    const Operand &from = op.in()[size_t(input)], &to = op.out()[0];
    const Value &source = graph.values[size_t(from.value)], &target = graph.values[size_t(to.value)];
    // What a run leaves behind keeps memory of its own.
    if (!from.whole(source) || source.spec != target.spec || result[size_t(to.value)]) continue;
    renaming.rename(to.value, from.value);
  }
  renaming.finish();
}

}  // namespace anneal::passes
