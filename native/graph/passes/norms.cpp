#include "graph/passes/norms.h"

#include <algorithm>

#include "cpu/fused_blocks.h"
#include "graph/passes/chains.h"

namespace anneal::passes {
namespace {

void normAfterCpu(const Call<NormAfter>& call) {
  const NormAfter& a = call.attrs;
  const size_t chained = a.chain.outputs.size();
  const cpu::ChainOnBlocks chain(a.chain, call.in.subspan(2), call.out.first(chained), a.width);
  const View& y = call.out.size() > chained ? call.out.back() : call.out[a.from];
  ops::normalizeRowsCpu(a.rows, call.out[a.from], call.in[0], call.in[1], y, &chain);
}

}  // namespace

const Op<NormAfter> normAfter({.name = "fusedNorm",
                               .doc = "A norm of rows that elementwise operations compute just before; made when a "
                                      "graph is planned.",
                               .inputs = {"weight?", "bias?", "tensors..."},
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

  static bool isNorm(const Operation& op) { return op.row == &ops::layerNorm.row() || op.row == &ops::rmsNorm.row(); }

  /// The chain that makes the rows of the norm `i`, if the norm may be done there; or -1.
  int findChain(int i) const {
    if (!isNorm(at(i))) return -1;
    const Operand& x = at(i).in()[0];
    const int chain = x.value < 0 ? -1 : uses_.writer[size_t(x.value)];
    if (chain < 0 || i - chain > kReach || normOf_[size_t(chain)] >= 0 || moved_[size_t(chain)]) return -1;
    if (!isChain(graph_, at(chain))) return -1;
    if (graph_.device->type() != DeviceType::Cpu && at(chain).inputs > kMostNormInputs) return -1;
    if (!x.whole(graph_.values[size_t(x.value)]) || x.view.size() == 0) return -1;
    // Weight and bias must be there already, as they lie.
    for (size_t k = 1; k < at(i).inputs; ++k) {
      const Operand& o = at(i).in()[k];
      if (o.view.defined && (o.value < 0 || uses_.writer[size_t(o.value)] >= chain || !o.view.contiguous())) return -1;
    }
    return chain;
  }

  Operation join(const Operation& chained, const Operation& norm) const {
    const int value = norm.in()[0].value;
    const Operand& y = norm.out()[0];
    auto attrs = std::make_shared<NormAfter>();
    attrs->chain = static_cast<const Joined*>(chained.attrs.get())->chain;
    attrs->rows = norm.row == &ops::layerNorm.row()
                      ? ops::normalizedRows(*static_cast<const ops::LayerNorm*>(norm.attrs.get()))
                      : ops::normalizedRows(*static_cast<const ops::RmsNorm*>(norm.attrs.get()), y.view.dtype);
    const Shape& shape = y.view.shape;
    attrs->width = shape.slice(shape.rank() - int(attrs->rows.axes), shape.rank()).product();
    Operand none;
    none.view.defined = false;
    Operation all{.row = &normAfter.row(), .attrs = attrs, .region = norm.region};
    all.operands = {norm.in()[1], norm.inputs > 2 ? norm.in()[2] : none};
    all.operands.insert(all.operands.end(), chained.in().begin(), chained.in().end());
    all.inputs = all.operands.size();
    const bool alone = uses_.onlyReader(value) >= 0;
    for (size_t k = 0; k < chained.out().size(); ++k) {
      const bool read = chained.out()[k].value == value;
      if (read) attrs->from = k;
      all.operands.push_back(read && alone ? y : chained.out()[k]);
    }
    if (!alone) all.operands.push_back(y);
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

void fuseNorms(Graph& graph) { Norms(graph).run(); }

}  // namespace anneal::passes
