#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "graph/passes/passes.h"
#include "graph/passes/updates.h"
#include "ops/arithmetic.h"

namespace anneal::passes {
namespace {

using ops::UpdateInputs;

/// Takes clipping into the updates that alone read what is clipped.
class Clipping {
 public:
  explicit Clipping(Graph& graph) : graph_(graph), uses_(graph) {}

  void run() {
    for (size_t i = 0; i < graph_.operations.size(); ++i) {
      Operation& op = graph_.operations[i];
      if (op.row == &ops::clipByGlobalNorm.row()) takeNorm(op);
      else if (updatedBy(op)) takeLimit(op);
    }
  }

 private:
  /// Whether updates alone read `value`, as a gradient and once each.
  bool goesToUpdates(int value) const {
    if (uses_.kept[size_t(value)]) return false;
    const auto& readers = uses_.readers[size_t(value)];
    return std::all_of(readers.begin(), readers.end(), [&](int reader) {
      const Operation& op = graph_.operations[size_t(reader)];
      if (!updatedBy(op)) return false;
      const auto reads = [&](const Operand& o) { return o.value == value; };
      const auto in = op.in();
      const auto gradients = gradientsOf(op);
      const auto found = std::find_if(gradients.begin(), gradients.end(), reads);
      return std::count_if(in.begin(), in.end(), reads) == 1 && found != gradients.end() && whole(*found);
    });
  }

  bool whole(const Operand& o) const { return o.value >= 0 && o.whole(graph_.values[size_t(o.value)]); }

  /// Only the norm remains of a clipping by it, if all that it clips goes to updates that take nothing else.
  void takeNorm(Operation& clip) {
    std::map<int, int> before;  // by what is clipped
    std::set<int> updates;
    for (size_t i = 0; i < clip.inputs; ++i) {
      const int clipped = clip.out()[i].value;
      if (!whole(clip.in()[i]) || !goesToUpdates(clipped)) return;
      before[clipped] = clip.in()[i].value;
      for (int reader : uses_.readers[size_t(clipped)]) updates.insert(reader);
    }
    for (int u : updates) {
      const Operation& update = graph_.operations[size_t(u)];
      const auto gradients = gradientsOf(update);
      const bool all = std::all_of(gradients.begin(), gradients.end(), [&](auto& o) { return before.count(o.value); });
      if (!all || update.in()[UpdateInputs::Scale].value >= 0) return;
    }
    Operand scale;
    scale.view.dtype = DType::Float64;
    scale.value = graph_.add({.spec = {{}, DType::Float64}});
    for (int u : updates) {
      Operation& update = graph_.operations[size_t(u)];
      update.operands[UpdateInputs::Scale] = scale;
      for (Operand& gradient : gradientsOf(update)) gradient.value = before.at(gradient.value);
    }
    const Operand norm = clip.out().back();
    clip.operands.resize(clip.inputs);
    clip.operands.push_back(norm);
    clip.operands.push_back(scale);
    clip.row = &ops::globalNorm.row();
  }

  /// The limit of a clamp to [-limit, limit] whose result goes to updates only.
  std::optional<double> limitOf(int value) const {
    const int writer = uses_.writer[size_t(value)];
    if (writer < 0 || !goesToUpdates(value)) return {};
    const Operation& op = graph_.operations[size_t(writer)];
    if (op.row != &ops::clamp.row() || !whole(op.in()[0])) return {};
    const auto& [min, max] = *static_cast<const ops::Clamp*>(op.attrs.get());
    if (!min || !max || *min != -*max || !(*max >= 0)) return {};
    return *max;
  }

  /// An update clamps its gradients itself, if all of them are to be clamped in the same way.
  void takeLimit(Operation& update) {
    const auto gradients = gradientsOf(update);
    const auto limit = limitOf(gradients.front().value);
    if (!limit || !std::all_of(gradients.begin(), gradients.end(), [&](auto& o) { return limitOf(o.value) == limit; }))
      return;
    Operand& own = update.operands[UpdateInputs::Limit];
    own.view = scalarTensor(*limit, DType::Float64, true).view();
    for (Operand& gradient : gradients)
      gradient.value = graph_.operations[size_t(uses_.writer[size_t(gradient.value)])].in()[0].value;
  }

  Graph& graph_;
  const Uses uses_;
};

}  // namespace

void mergeClipping(Graph& graph) {
  Clipping(graph).run();
  removeDead(graph);
}

}  // namespace anneal::passes
