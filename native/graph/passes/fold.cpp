#include "graph/passes/passes.h"
#include "ops/views.h"
#include "runtime/context.h"

namespace anneal::passes {
namespace {

constexpr int64_t kMost = int64_t(1) << 18;  // elements of a result worth keeping between runs

bool constant(const Graph& graph, const Operand& o) {
  return o.value < 0 || graph.values[size_t(o.value)].kind == Value::Kind::Constant;
}

Tensor tensorOf(const Graph& graph, const Operand& o) {
  if (!o.view.defined) return {};
  if (o.value >= 0) {
    const Tensor& whole = graph.constants[size_t(graph.values[size_t(o.value)].index)];
    return whole.alias(o.view.shape, o.view.strides, whole.impl()->offset + o.offset / int64_t(itemSize(o.view.dtype)));
  }
  auto impl = makeRef<TensorImpl>();
  impl->spec = {o.view.shape, o.view.dtype};
  impl->strides = o.view.strides;
  impl->device = graph.device;
  impl->scalar = o.view.scalar;
  impl->isScalar = true;
  impl->weak = o.view.weak;
  return Tensor(impl);
}

}  // namespace

void foldConstants(Graph& graph) {
  GradMode off(false);
  std::vector<bool> state(graph.values.size());  // takes memory of its own in every run
  forEachState(graph, [&](int value) { state[size_t(value)] = true; });
  for (Operation& op : graph.operations) {
    bool folds = !op.row->donor;
    for (const Operand& o : op.in()) folds &= constant(graph, o);
    for (const Operand& o : op.out()) folds &= o.view.size() <= kMost && !state[size_t(o.value)];
    if (!folds) continue;
    Tensors in;
    for (const Operand& o : op.in()) in.push_back(tensorOf(graph, o));
    const Tensors out = dispatch(*op.row, in, op.attrs);
    for (size_t i = 0; i < out.size(); ++i) {
      Value& value = graph.values[size_t(op.out()[i].value)];
      value.kind = Value::Kind::Constant;
      value.index = int64_t(graph.constants.size());
      graph.constants.push_back(out[i].contiguous() ? out[i].detach() : ops::contiguous(out[i].detach()));
    }
    op.row = nullptr;
  }
  std::erase_if(graph.operations, [](const Operation& op) { return !op.row; });
}

}  // namespace anneal::passes
