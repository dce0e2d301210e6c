#pragma once
#include "graph/tape.h"
#include "op/row.h"

namespace anneal {

/// A piece of memory in a captured graph: what an operation writes, or what comes from outside. Always contiguous.
struct Value {
  enum class Kind {
    Result,    // of an operation
    Argument,  // `index` of the call
    Cell,      // a tensor that the function reads by reference, such as a parameter: `index` into Graph::cells
    Gradient,  // what a leaf had collected before: `index` into Graph::leaves
    Constant,  // `index` into Graph::constants
    Number,    // `index` of the numbers that JavaScript passes to every run
    Key,       // of a random operation, `index` counts from where the generator stands when the run begins
    Kept,      // of the prologue: computed anew only when a cell that it depends on has changed
  };
  Kind kind = Kind::Result;
  Spec spec;
  int64_t index = 0;
  size_t bytes() const { return size_t(spec.size()) * itemSize(spec.dtype); }
};

/// How an operation sees a value: the view's memory is filled in when it runs.
struct Operand {
  int value = -1;      // none: absent, or a literal held in `view`
  int64_t offset = 0;  // bytes from the start of the value
  View view;
  /// Whether it is the whole value as it lies.
  bool whole(const Value& v) const { return offset == 0 && view.shape == v.spec.shape && view.contiguous(); }
};

/// One kernel launch of a captured graph.
struct Operation {
  const Row* row = nullptr;
  AttrsRef attrs;
  std::vector<Operand> operands;  // inputs, then outputs
  size_t inputs = 0;
  double cost = 0;
  std::string note;  // of an operation that passes have made: what it stands for
  int region = 0;  // recomputed parts have regions of their own, so that they are not shared with the first computation

  std::span<Operand> in() { return {operands.data(), inputs}; }
  std::span<Operand> out() { return {operands.data() + inputs, operands.size() - inputs}; }
  std::span<const Operand> in() const { return {operands.data(), inputs}; }
  std::span<const Operand> out() const { return {operands.data() + inputs, operands.size() - inputs}; }
};

/// A tensor that the function reads and perhaps replaces, with what must still hold of it when the graph runs.
struct Cell {
  Ref<TensorImpl> impl;
  Spec spec;
  Ref<Leaf> leaf;
  bool decided = false;  // the function itself freezes or thaws it first: `leaf` need not hold
  int value = -1;        // what it holds at the start of a run; -1: it is not read
  int written = -1;      // what it holds at the end; -1: as before
};

/// A leaf whose collected gradient the function reads or replaces.
struct LeafState {
  Ref<Leaf> leaf;
  bool read = false;     // whether it mattered if there was a gradient
  bool defined = false;  // whether there was
  int value = -1;
  bool changed = false;
  int written = -1;  // with `changed`: the new gradient; -1: none
};

/// What a captured function computes: operations in order, and what it leaves behind.
struct Graph {
  std::vector<Value> values;
  std::vector<Operation> prologue;  // what depends on cells and constants only
  std::vector<Operation> operations;
  std::vector<Spec> arguments;
  std::vector<Cell> cells;
  std::vector<LeafState> leaves;
  Tensors constants;
  int64_t numbers = 0;      // that JavaScript passes to every run
  int64_t randomSteps = 0;  // by which the generator goes on
  std::vector<Operand> outputs;
  Device* device = nullptr;

  int add(const Value& value) {
    values.push_back(value);
    return int(values.size()) - 1;
  }
};

}  // namespace anneal
