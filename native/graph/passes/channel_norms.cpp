#include <map>

#include "graph/passes/layers.h"
#include "ops/norm.h"

namespace anneal::passes {
namespace {

/// Norms of channels in training: they take over the addition and the ReLU that follow, and their gradients take over
/// the ReLU's, which sees from their own input what was cut off.
class ChannelNorms : LayerJoiner {
 public:
  using LayerJoiner::LayerJoiner;

  void run() {
    for (size_t i = 0; i < graph_.operations.size(); ++i)
      if (at(int(i)).row == &ops::normalizeGroups.row()) forward(int(i));
    for (size_t i = 0; i < graph_.operations.size(); ++i)
      if (named(int(i), "reluGrad")) backward(int(i));
    std::vector<Operation> rest;
    for (size_t i = 0; i < graph_.operations.size(); ++i)
      if (!joined_[i]) rest.push_back(std::move(graph_.operations[i]));
    graph_.operations = std::move(rest);
  }

 private:
  static const ops::NormalizeGroups& attrsOf(const Operation& op) {
    return *static_cast<const ops::NormalizeGroups*>(op.attrs.get());
  }
  static AttrsRef withRelu(const Operation& op) {
    auto attrs = std::make_shared<ops::NormalizeGroups>(attrsOf(op));
    attrs->relu = true;
    return attrs;
  }

  /// What is taken over moves to where the norm is: others may read its statistics before what follows it.
  void forward(int norm) {
    LayerChain chain{.layer = norm};
    int next = follower(norm);
    if (named(next, "add") && addResidual(chain, next) && uses_.writer[size_t(chain.residual.value)] < norm)
      next = follower(next);
    else if (chain.add >= 0) return;
    if (named(next, "relu")) chain.activation = next;
    if (chain.last() == norm) return;
    Operation& op = graph_.operations[size_t(norm)];
    op.note = noteOf(chain);
    for (int member : {chain.add, chain.activation})
      if (member >= 0) joined_[size_t(member)] = true;
    if (chain.activation >= 0) op.attrs = withRelu(op);
    if (chain.add >= 0) op.operands[3] = chain.residual;
    else madeBy_[at(chain.activation).out()[0].value] = norm;
    op.operands[op.inputs] = at(chain.last()).out()[0];
  }

  void backward(int mask) {
    const Operand &grad = at(mask).in()[0], &y = at(mask).in()[1];
    const auto norm = madeBy_.find(y.value);
    const int next = follower(mask);
    if (norm == madeBy_.end() || next < 0 || at(next).row != &ops::normalizeGroupsGradient.row()) return;
    if (grad.value < 0 || !grad.whole(valueOf(grad)) || !y.whole(valueOf(y))) return;
    const Operation& made = at(norm->second);
    Operation& op = graph_.operations[size_t(next)];
    const bool same = op.in()[0].value == at(mask).out()[0].value && op.in()[1].value == made.in()[0].value &&
                      op.in()[1].whole(valueOf(op.in()[1])) && op.in()[3].value == made.out()[1].value &&
                      op.in()[4].value == made.out()[2].value && op.in()[2].value == made.in()[1].value;
    if (!same) return;
    joined_[size_t(mask)] = true;
    op.attrs = withRelu(op);
    op.operands[0] = grad;
    op.operands[5] = made.in()[2];
    op.note = "reluGrad " + op.row->name;
  }

  std::map<int, int> madeBy_;  // of a value: the norm that gives it, with a ReLU
};

}  // namespace

void fuseChannelNorms(Graph& graph) { ChannelNorms(graph).run(); }

}  // namespace anneal::passes
