#include "graph/passes/norms.h"

#include <algorithm>

#include "cpu/fused_blocks.h"
#include "graph/passes/chains.h"

namespace anneal::passes {
namespace {

void normAfterCpu(const Call<NormAfter>& call) {
  const NormAfter& a = call.attrs;
  const cpu::ChainOnBlocks chain(a.chain, call.in.subspan(kNormInputs), call.out.first(a.chain.outputs.size()),
                                 a.width);
  ops::normalizeRowsCpu(a.rows, call.out[a.from], call.in[0], call.in[1], call.out[a.result], &chain);
}

}  // namespace

const Op<NormAfter> normAfter({.name = "fusedNorm",
                               .doc = "A norm of rows, or its gradient, of what elementwise operations compute just "
                                      "before; made when a graph is planned.",
                               .inputs = {"first?", "second?", "tensors..."},
                               .outputs = {"results..."},
                               .nonDifferentiable = true,
                               .method = false,
                               .internal = true,
                               .anyStrides = true});
const Implement<NormAfter> normAfterOnCpu("fusedNorm", DeviceType::Cpu, normAfterCpu);

namespace {

class Norms {
 public:
  explicit Norms(Graph& graph)
      : graph_(graph), uses_(graph), normOf_(graph.operations.size(), -1), moved_(graph.operations.size()) {}

  void run() {
    for (size_t i = 0; i < graph_.operations.size(); ++i) {
      const int chain = findChain(int(i));
      if (chain < 0) continue;
      normOf_[size_t(chain)] = int(i);
      moved_[i] = true;
    }
    std::vector<Operation> rest;
    for (size_t i = 0; i < graph_.operations.size(); ++i) {
      if (moved_[i]) continue;
      if (normOf_[i] < 0) rest.push_back(std::move(graph_.operations[i]));
      else rest.push_back(join(asChain(at(int(i))), at(normOf_[i])));
    }
    graph_.operations = std::move(rest);
  }

 private:
  const Operation& at(int i) const { return graph_.operations[size_t(i)]; }

  bool onGpu() const { return graph_.device->type() != DeviceType::Cpu; }

  /// The chain that makes the rows of the norm `i`, if the norm may be done there; or -1.
  int findChain(int i) const {
    if (!isRowNorm(at(i).row) || (!onGpu() && at(i).row == &ops::normalizeRowsGradient.row())) return -1;
    const Operand& x = at(i).in()[0];
    const int chain = x.value < 0 ? -1 : uses_.writer[size_t(x.value)];
    if (chain < 0 || i - chain > kReach || normOf_[size_t(chain)] >= 0 || moved_[size_t(chain)]) return -1;
    if (!isChain(graph_, at(chain))) return -1;
    const size_t most = at(i).row == &ops::normalizeRowsGradient.row() ? kMostGradientInputs : kMostNormInputs;
    if (onGpu() && (at(chain).inputs > most || meetAfter(chain, i))) return -1;
    if (!x.whole(graph_.values[size_t(x.value)]) || x.view.size() == 0) return -1;
    // The others must be there already, as they lie.
    for (size_t k = 1; k < at(i).inputs; ++k) {
      const Operand& o = at(i).in()[k];
      if (o.view.defined && (o.value < 0 || uses_.writer[size_t(o.value)] >= chain || !o.view.contiguous())) return -1;
    }
    return chain;
  }

  /// Whether a chain goes on with both what the norm and what the chain before it gives: better after the norm, which
  /// is then not stored.
  bool meetAfter(int chain, int norm) const {
    const auto reads = [&](int reader, const Operand& made) {
      const auto& readers = uses_.readers[size_t(made.value)];
      return std::find(readers.begin(), readers.end(), reader) != readers.end();
    };
    const auto both = [&](int reader) {
      return isChain(graph_, at(reader)) && std::any_of(at(chain).out().begin(), at(chain).out().end(),
                                                        [&](const Operand& made) { return reads(reader, made); });
    };
    const auto& after = uses_.readers[size_t(at(norm).out()[0].value)];
    return std::any_of(after.begin(), after.end(), both);
  }

  Operation join(const Operation& chained, const Operation& norm) const {
    const int value = norm.in()[0].value;
    const Operand& y = norm.out()[0];
    auto attrs = std::make_shared<NormAfter>(
        NormAfter{.row = norm.row, .dtype = y.view.dtype, .rows = rowsOf(norm.row, norm.attrs.get(), y.view.dtype)});
    attrs->chain = static_cast<const Joined*>(chained.attrs.get())->chain;
    attrs->width = normWidth(norm);
    Operation all{.row = &normAfter.row(), .attrs = attrs, .region = norm.region};
    all.operands.assign(norm.in().begin() + 1, norm.in().end());
    all.operands.resize(kNormInputs);
    if (norm.inputs <= kNormInputs) all.operands.back().view.defined = false;
    all.operands.insert(all.operands.end(), chained.in().begin(), chained.in().end());
    all.inputs = all.operands.size();
    const bool alone = uses_.onlyReader(value) >= 0;
    attrs->result = chained.out().size();
    for (size_t k = 0; k < chained.out().size(); ++k) {
      const bool read = chained.out()[k].value == value;
      if (read) attrs->from = k;
      if (read && alone) attrs->result = k;
      all.operands.push_back(read && alone ? y : chained.out()[k]);
    }
    all.operands.insert(all.operands.end(), norm.out().begin() + (alone ? 1 : 0), norm.out().end());
    all.cost = chained.cost + norm.cost;
    all.note = chained.note + " " + norm.row->name;
    return all;
  }

  Graph& graph_;
  const Uses uses_;
  std::vector<int> normOf_;  // of a chain: the norm that is done with it; -1: none
  std::vector<bool> moved_;
};

}  // namespace

bool isRowNorm(const Row* row) {
  return row == &ops::layerNorm.row() || row == &ops::rmsNorm.row() || row == &ops::normalizeRowsGradient.row();
}

ops::NormalizeRows rowsOf(const Row* norm, const void* attrs, DType dtype) {
  if (norm == &ops::layerNorm.row()) return ops::normalizedRows(*static_cast<const ops::LayerNorm*>(attrs));
  if (norm == &ops::rmsNorm.row()) return ops::normalizedRows(*static_cast<const ops::RmsNorm*>(attrs), dtype);
  return *static_cast<const ops::NormalizeRows*>(attrs);
}

int64_t normWidth(const Operation& norm) {
  const View& y = norm.out()[0].view;
  const int64_t axes = rowsOf(norm.row, norm.attrs.get(), y.dtype).axes;
  return y.shape.slice(y.shape.rank() - int(axes), y.shape.rank()).product();
}

void fuseNorms(Graph& graph) { Norms(graph).run(); }

}  // namespace anneal::passes
