#pragma once
#include <memory>
#include <unordered_map>

#include "graph/graph.h"

namespace anneal {

struct Context;

/// Records what is dispatched into a graph instead of running it. Tensors that take part have no memory: their storage
/// names a value of the graph. While it is the context's capture, all the calls of that environment go here.
class Capture {
 public:
  Capture(const std::vector<Spec>& arguments, Device& device);
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  /// The capture of the calling thread's context, or null.
  static Capture* current();
  /// Throws an Error (State) for a tensor that belongs to a capture that is over.
  static void requireAlive(const Tensor& t);

  /// Throws an Error (Device) for a tensor on another device than the graph's.
  void requireHere(const Tensor& t) const;

  const Tensor& argument(size_t i) const { return arguments_[i]; }
  /// `t` as the graph sees it: a tensor from outside becomes one that is read by reference at every run.
  const Tensor& seen(const Tensor& t);
  /// The same for tensors whose value is not going to change.
  Tensor constant(const Tensor& t);

  /// What dispatch does instead of queueing a kernel.
  Tensors emit(const Row& row, const AttrsRef& attrs, Inputs in, const Specs& specs);
  /// A number that is passed to every run.
  Tensor number();
  /// The key for `count` random numbers.
  Tensor key(int64_t count);
  /// Gives a cell a new value.
  void assign(const Tensor& cell, const Tensor& source);
  /// To be called before the function freezes or thaws a cell.
  void decide(const Tensor& cell);
  /// To be called before the gradient of a leaf is read or replaced.
  void touch(const Ref<Leaf>& leaf, bool read);
  /// What is emitted from now on belongs to a part that is computed anew; returns the region before.
  int enterRegion(int region);
  int newRegion() { return ++regions_; }

  /// The graph; everything that the capture has changed is as it was before.
  std::unique_ptr<Graph> finish(const Tensors& outputs);

 private:
  struct CellState {
    size_t index;
    Tensor now;
  };
  Tensor symbol(int value, bool weak = false);
  Operand operand(const Tensor& t) const;
  CellState& cellOf(const Tensor& t);
  int valueOf(const Tensor& t);
  Tensor ownResult(const Tensor& t);
  Tensor copied(const Tensor& t);
  void restore();

  Context& context_;
  uint64_t serial_;
  std::unique_ptr<Graph> graph_ = std::make_unique<Graph>();
  Tensors arguments_;
  std::unordered_map<TensorImpl*, CellState> cells_;
  std::unordered_map<Leaf*, std::pair<size_t, Tensor>> leaves_;           // with the gradient from before
  std::unordered_map<TensorImpl*, std::pair<Tensor, Tensor>> constants_;  // with what they stand for
  Device* startDevice_ = nullptr;
  int64_t startSeed_, startOffset_;
  int region_ = 0, regions_ = 0;
};

/// Lets the calls of the context run at once, although a function is being captured, for as long as this lives.
class CapturePause {
 public:
  CapturePause();
  ~CapturePause();

 private:
  Capture* paused_;
};

/// `t` in memory that follows the order of its axes, computed now.
Tensor settled(const Tensor& t);

}  // namespace anneal
