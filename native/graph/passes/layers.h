#pragma once
#include <algorithm>
#include <array>

#include "graph/passes/passes.h"

namespace anneal::passes {

/// A layer and what follows it, as operations of the graph; -1: not there.
struct LayerChain {
  int layer = -1, norm = -1, add = -1, activation = -1;
  Operand residual;
  int last() const { return std::max({layer, norm, add, activation}); }
  std::array<int, 4> members() const { return {layer, norm, add, activation}; }
};

/// What passes share that join layers with what follows them.
class LayerJoiner {
 public:
  explicit LayerJoiner(Graph& graph) : graph_(graph), uses_(graph), joined_(graph.operations.size()) {}

 protected:
  const Operation& at(int i) const { return graph_.operations[size_t(i)]; }
  const Value& valueOf(const Operand& o) const { return graph_.values[size_t(o.value)]; }
  bool named(int i, const char* name) const { return i >= 0 && at(i).row->name == name; }

  /// The only reader of an operation's result, which reads it as it lies; or -1.
  int follower(int i) const {
    const Operand& out = at(i).out()[0];
    const int reader = uses_.onlyReader(out.value);
    if (reader < 0 || joined_[size_t(reader)]) return -1;
    for (const Operand& o : at(reader).in())
      if (o.value == out.value && !o.whole(valueOf(out))) return -1;
    return reader;
  }

  /// Takes the other operand of an addition for the residual where it has the result's shape.
  bool addResidual(LayerChain& chain, int add) const {
    const int made = at(chain.last()).out()[0].value;
    const Operand& other = at(add).in()[at(add).in()[0].value == made ? 1 : 0];
    if (other.value < 0 || other.value == made || !other.whole(valueOf(other))) return false;
    if (valueOf(other).spec != graph_.values[size_t(made)].spec) return false;
    chain.add = add;
    chain.residual = other;
    return true;
  }

  /// Puts what `join` makes of each chain at the place of its last operation, and drops the others.
  template <class F>
  void replace(const std::vector<LayerChain>& chains, F&& join) {
    std::vector<const LayerChain*> endOf(graph_.operations.size());
    for (const LayerChain& chain : chains) endOf[size_t(chain.last())] = &chain;
    std::vector<Operation> rest;
    for (size_t i = 0; i < endOf.size(); ++i) {
      if (endOf[i]) join(*endOf[i], rest);
      else if (!joined_[i]) rest.push_back(std::move(graph_.operations[i]));
    }
    graph_.operations = std::move(rest);
  }

  void claim(const LayerChain& chain) {
    for (int member : chain.members())
      if (member >= 0) joined_[size_t(member)] = true;
  }

  /// The names of what a chain joins to its layer.
  std::string noteOf(const LayerChain& chain) const {
    std::string note;
    for (int member : chain.members())
      if (member >= 0) note += (note.empty() ? "" : " ") + at(member).row->name;
    return note;
  }

  /// A new operation with one new result.
  Operand emit(std::vector<Operation>& to, const Row& row, AttrsRef attrs, std::vector<Operand> in, const Spec& spec) {
    Operand out{.value = graph_.add({.spec = spec})};
    out.view.shape = spec.shape;
    out.view.strides = contiguousStrides(spec.shape);
    out.view.dtype = spec.dtype;
    const size_t inputs = in.size();
    in.push_back(out);
    to.push_back({.row = &row,
                  .attrs = std::move(attrs),
                  .operands = std::move(in),
                  .inputs = inputs,
                  .cost = double(spec.size())});
    return out;
  }

  static Operand none() {
    Operand o;
    o.view.defined = false;
    return o;
  }

  Graph& graph_;
  const Uses uses_;
  std::vector<bool> joined_;
};

}  // namespace anneal::passes
