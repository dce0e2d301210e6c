#include <algorithm>
#include <optional>

#include "graph/passes/chains.h"
#include "op/infer.h"
#include "ops/reduce.h"

namespace anneal::passes {
namespace {

void chainTotalsCpu(const Call<ChainTotals>& call) {
  const ChainTotals& a = call.attrs;
  const size_t chained = a.chain.outputs.size();
  cpu::runTotals(a.chain, a.totals, a.shape, call.in, call.out.first(chained), call.out[chained]);
}

}  // namespace

const Op<ChainTotals> chainTotals({.name = "fusedReduction",
                                   .doc = "Elementwise operations with totals of what they compute, tile by tile; made "
                                          "when a graph is planned.",
                                   .inputs = {"tensors..."},
                                   .outputs = {"results..."},
                                   .nonDifferentiable = true,
                                   .method = false,
                                   .internal = true,
                                   .anyStrides = true});
const Implement<ChainTotals> chainTotalsOnCpu("fusedReduction", DeviceType::Cpu, chainTotalsCpu);

namespace {

/// What the operation computes of all elements of rows; nothing if it does not.
std::optional<cpu::Totals> totalsOf(const Operation& op) {
  cpu::Totals totals;
  if (op.row == &ops::max.row()) totals.reducer = cpu::Reducer::Max;
  else if (op.row == &ops::min.row()) totals.reducer = cpu::Reducer::Min;
  else if (op.row == &ops::mean.row()) totals.finish = cpu::Finish::Scale;
  else if (op.row != &ops::sum.row()) return {};
  const Shape& shape = op.in()[0].view.shape;
  const auto& axis = static_cast<const ops::Reduce*>(op.attrs.get())->axis;
  const Ints axes = reductionAxes(op.row->name, axis, shape.rank());
  totals.width = ops::reducedCount(axis, shape);
  if (totals.finish == cpu::Finish::Scale) totals.number = 1 / double(totals.width);
  // Rows: the last axes, but for those of size 1.
  bool kept = false;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    const bool reduced = std::find(axes.begin(), axes.end(), i) != axes.end();
    if (shape[i] == 1) continue;
    if (reduced && kept) return {};
    kept |= !reduced;
  }
  return totals;
}

class Reductions {
 public:
  explicit Reductions(Graph& graph)
      : graph_(graph), uses_(graph), reductionOf_(graph.operations.size(), -1), moved_(graph.operations.size()) {}

  void run() {
    for (size_t i = 0; i < graph_.operations.size(); ++i) {
      const int chain = findChain(int(i));
      if (chain < 0) continue;
      reductionOf_[size_t(chain)] = int(i);
      moved_[i] = true;
    }
    std::vector<Operation> rest;
    for (size_t i = 0; i < graph_.operations.size(); ++i) {
      if (moved_[i]) continue;
      if (reductionOf_[i] < 0) rest.push_back(std::move(graph_.operations[i]));
      else rest.push_back(join(at(int(i)), at(reductionOf_[i])));
    }
    graph_.operations = std::move(rest);
  }

 private:
  const Operation& at(int i) const { return graph_.operations[size_t(i)]; }

  /// The chain whose result `i` reduces, if that may be done there; or -1.
  int findChain(int i) const {
    const auto totals = totalsOf(at(i));
    if (!totals || !fuses(graph_)) return -1;
    const Operand& x = at(i).in()[0];
    const int chain = x.value < 0 ? -1 : uses_.writer[size_t(x.value)];
    if (chain < 0 || i - chain > kReach || reductionOf_[size_t(chain)] >= 0 || moved_[size_t(chain)]) return -1;
    // All of it, as it lies, in whatever shape.
    const Spec& made = graph_.values[size_t(x.value)].spec;
    if (x.offset != 0 || !x.view.contiguous() || x.view.size() != made.size() || made.size() == 0) return -1;
    if (totals->width < 2) return -1;
    const bool onCpu = graph_.device->type() == DeviceType::Cpu;
    if (onCpu && !cpu::totalsLikeReduce(made.size() / totals->width, totals->width)) return -1;
    return isChain(graph_, at(chain)) ? chain : -1;
  }

  Operation join(const Operation& maker, const Operation& reduction) const {
    const int value = reduction.in()[0].value;
    cpu::Totals totals = *totalsOf(reduction);
    const Operation chained = asChain(maker);
    auto attrs = std::make_shared<ChainTotals>();
    attrs->chain = static_cast<const Joined*>(chained.attrs.get())->chain;
    attrs->shape = graph_.values[size_t(value)].spec.shape;
    Operation all{.row = &chainTotals.row(), .attrs = attrs, .region = reduction.region};
    all.operands.assign(chained.in().begin(), chained.in().end());
    all.inputs = all.operands.size();
    const bool alone = uses_.onlyReader(value) >= 0;
    std::vector<int> outputs;
    for (size_t k = 0; k < chained.out().size(); ++k) {
      const bool read = chained.out()[k].value == value;
      if (read) totals.of = attrs->chain.outputs[k];
      if (read && alone) continue;
      outputs.push_back(attrs->chain.outputs[k]);
      all.operands.push_back(chained.out()[k]);
    }
    attrs->chain.outputs = std::move(outputs);
    attrs->totals = totals;
    all.operands.push_back(reduction.out()[0]);
    all.cost = chained.cost + reduction.cost;
    all.note = chained.note + " " + reduction.row->name;
    return all;
  }

  Graph& graph_;
  const Uses uses_;
  std::vector<int> reductionOf_;  // of a chain: the reduction that is done with it; -1: none
  std::vector<bool> moved_;
};

}  // namespace

void fuseReductions(Graph& graph) { Reductions(graph).run(); }

}  // namespace anneal::passes
