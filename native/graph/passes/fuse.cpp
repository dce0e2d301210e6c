#include <algorithm>
#include <map>
#include <set>

#include "graph/passes/chains.h"
#include "graph/passes/epilogues.h"
#include "ops/activation.h"
#include "ops/random.h"

namespace anneal::passes {
namespace {

constexpr size_t kMostInputs = 12, kMostOutputs = 4;

/// Operations that are to become one, at the place of the last.
struct Group {
  std::vector<int> members;
  Spec spec;
};

class Fusion {
 public:
  explicit Fusion(Graph& graph)
      : graph_(graph), uses_(graph), writer_(uses_.writer), readers_(uses_.readers), kept_(uses_.kept) {
    groupOf_.assign(graph.operations.size(), -1);
  }

  void run() {
    for (size_t i = 0; i < graph_.operations.size(); ++i)
      if (joinable(graph_, graph_.operations[i])) place(int(i));
    std::vector<Operation> rest;
    for (size_t i = 0; i < graph_.operations.size(); ++i) {
      const int g = groupOf_[i];
      if (g < 0 || groups_[size_t(g)].members.size() == 1) rest.push_back(std::move(graph_.operations[i]));
      else if (groups_[size_t(g)].members.back() == int(i)) rest.push_back(join(groups_[size_t(g)]));
    }
    graph_.operations = std::move(rest);
  }

 private:
  /// Puts an operation into the groups of its producers, which become one as far as that is possible, or into a new
  /// one.
  void place(int i) {
    const Operation& op = graph_.operations[size_t(i)];
    const Spec& spec = graph_.values[size_t(op.out()[0].value)].spec;
    std::vector<int> members, groups;
    for (const Operand& o : op.in()) {
      const int g = o.value < 0 || writer_[size_t(o.value)] < 0 ? -1 : groupOf_[size_t(writer_[size_t(o.value)])];
      if (g < 0 || std::find(groups.begin(), groups.end(), g) != groups.end()) continue;
      const Group& group = groups_[size_t(g)];
      std::vector<int> all;
      std::merge(members.begin(), members.end(), group.members.begin(), group.members.end(), std::back_inserter(all));
      if (!alike(group.spec, spec) || i - group.members.back() > kReach || !fits(all, i)) continue;
      if (leftToProduct(group, i)) continue;
      members = std::move(all);
      groups.push_back(g);
    }
    if (groups.empty()) {
      groups.push_back(int(groups_.size()));
      groups_.push_back({{}, spec});
    }
    members.push_back(i);
    for (int m : members) groupOf_[size_t(m)] = groups[0];
    groups_[size_t(groups[0])].members = std::move(members);
  }

  /// Whether results of both can come from one chain: on the CPU it has one dtype throughout.
  bool alike(const Spec& a, const Spec& b) const {
    return a.shape == b.shape && (a.dtype == b.dtype || graph_.device->type() != DeviceType::Cpu);
  }

  /// Whether a product computes the ReLU that dropout `i` follows, and the ReLU's gradient reads that: joined with
  /// dropout, what the ReLU is made of would have to be stored as well.
  bool leftToProduct(const Group& group, int i) const {
    const Operation& last = graph_.operations[size_t(group.members.back())];
    if (graph_.operations[size_t(i)].row != &ops::dropoutMask.row() || last.row != &ops::relu.row()) return false;
    const int value = last.in()[0].value, product = value < 0 ? -1 : writer_[size_t(value)];
    return group.members.size() == 1 && product >= 0 && isProduct(graph_.operations[size_t(product)]) &&
           readers_[size_t(last.out()[0].value)].size() > 1;
  }

  /// Whether these can become one with the later operation `i`.
  bool fits(std::vector<int> members, int i) const {
    members.push_back(i);
    if (members.size() > cpu::Chain::kMostInstructions) return false;
    std::set<int> inputs;
    size_t outputs = 0;
    auto inside = [&](int reader) { return std::binary_search(members.begin(), members.end(), reader); };
    for (int m : members) {
      const Operation& op = graph_.operations[size_t(m)];
      for (const Operand& o : op.in()) {
        const bool ours = o.value >= 0 && writer_[size_t(o.value)] >= 0 && inside(writer_[size_t(o.value)]);
        // What the group makes it reads as it lies.
        if (ours && !o.whole(graph_.values[size_t(o.value)])) return false;
        if (!ours && o.value >= 0) inputs.insert(o.value);
      }
      const int value = op.out()[0].value;
      bool escapes = kept_[size_t(value)];
      for (int reader : readers_[size_t(value)]) {
        if (inside(reader)) continue;
        if (reader < i) return false;  // it would read what is not there yet
        escapes = true;
      }
      outputs += escapes;
    }
    return inputs.size() <= kMostInputs && outputs <= kMostOutputs;
  }

  Operation join(const Group& group) {
    auto attrs = std::make_shared<Joined>();
    cpu::Chain& chain = attrs->chain;
    chain.compute = group.spec.dtype;
    Operation whole{.row = &joined.row(), .attrs = attrs};
    std::map<int, int> registerOf;  // by value made inside
    // Inputs that are read in the same way share a register.
    auto inputRegister = [&](const Operand& o) {
      for (size_t k = 0; k < whole.operands.size(); ++k) {
        const Operand& known = whole.operands[k];
        const bool same = known.value == o.value && known.offset == o.offset && known.view.dtype == o.view.dtype &&
                          known.view.shape == o.view.shape && known.view.strides == o.view.strides &&
                          (o.value >= 0 || known.view.scalar == o.view.scalar);
        if (same) return int(k);
      }
      whole.operands.push_back(o);
      return int(whole.operands.size()) - 1;
    };
    for (int m : group.members) {
      const Operation& op = graph_.operations[size_t(m)];
      for (size_t k = 0; k < op.inputs; ++k)
        if (op.in()[k].value < 0 || !inside(group, op.in()[k].value)) inputRegister(inputOf(op, k));
    }
    whole.inputs = whole.operands.size();
    chain.inputs = chain.registers = int(whole.inputs);
    std::vector<Operand> outputs;
    for (int m : group.members) {
      const Operation& op = graph_.operations[size_t(m)];
      cpu::Chain::Instruction instruction = instructionOf(op);
      for (size_t k = 0; k < op.inputs; ++k) {
        const Operand& o = op.in()[k];
        instruction.from[k] =
            o.value >= 0 && inside(group, o.value) ? registerOf.at(o.value) : inputRegister(inputOf(op, k));
      }
      const int value = op.out()[0].value;
      instruction.to = registerOf[value] = chain.registers++;
      chain.instructions.push_back(instruction);
      whole.note += (whole.note.empty() ? "" : " ") + op.row->name;
      whole.cost += op.cost;
      whole.region = op.region;
      if (!escapes(group, value)) continue;
      chain.outputs.push_back(instruction.to);
      outputs.push_back(op.out()[0]);
    }
    whole.operands.insert(whole.operands.end(), outputs.begin(), outputs.end());
    return whole;
  }

  bool inside(const Group& group, int value) const {
    const int writer = writer_[size_t(value)];
    return writer >= 0 && std::find(group.members.begin(), group.members.end(), writer) != group.members.end();
  }

  bool escapes(const Group& group, int value) const {
    if (kept_[size_t(value)]) return true;
    return std::any_of(readers_[size_t(value)].begin(), readers_[size_t(value)].end(), [&](int reader) {
      return std::find(group.members.begin(), group.members.end(), reader) == group.members.end();
    });
  }

  Graph& graph_;
  const Uses uses_;
  const std::vector<int>& writer_;
  const std::vector<std::vector<int>>& readers_;
  const std::vector<bool>& kept_;
  std::vector<Group> groups_;
  std::vector<int> groupOf_;
};

}  // namespace

void fuseElementwise(Graph& graph) { Fusion(graph).run(); }

}  // namespace anneal::passes
