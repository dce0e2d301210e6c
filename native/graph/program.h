#pragma once
#include <memory>
#include <optional>

#include "graph/plan.h"

namespace anneal {

/// An operation of a program, for those who look at it.
struct Description {
  std::string name;
  std::vector<std::string> inputs, outputs;
  std::string attributes;
  double operations = 0, bytes = 0;  // scalar operations; bytes read and written
  double live = 0;                   // bytes of intermediate results that are held while it runs
  double nanoseconds = -1;           // of the last profiled run; -1: never profiled
};

/// How the runs of a program were started, on a device whose stream can be recorded.
struct Replays {
  uint64_t recorded = 0;  // how often the operations were recorded, to be started as one from then on
  uint64_t replayed = 0;  // runs that were one start of a recording
  uint64_t separate = 0;  // runs whose operations were started one by one
  std::string problem;    // why nothing can be recorded; empty: it can
};

/// A captured graph that is ready to run again and again, for one JavaScript environment.
class Program {
 public:
  explicit Program(std::unique_ptr<Graph> graph);

  /// Whether arguments, cells and gradients are what they were when the graph was captured. Where gradients are
  /// recorded, none would flow to an argument that requires one.
  bool fits(Inputs arguments, bool recordsGradients) const;
  /// Queues a run and gives its results. `numbers` are those that change between runs. A run that fails leaves cells as
  /// they were, but for those that it had already updated in place.
  Tensors run(Inputs arguments, std::span<const double> numbers);

  size_t numbers() const;
  /// What intermediate results share, and the most that live at one time.
  size_t arenaBytes() const;
  size_t liveBytes() const;
  /// Has the next run measure every operation, for describe().
  void profileNext();
  std::vector<Description> describe() const;
  /// None on a device whose stream cannot be recorded. Of the runs that are done.
  std::optional<Replays> replays() const;
  /// What people should know who look at it: sentences.
  std::vector<std::string> notes() const;

 private:
  struct Compiled;
  struct Execution;
  Tensor boundTo(int value, Inputs arguments, std::span<const double> numbers) const;
  void bind(Execution& run, Tensors& bound, Inputs arguments, std::span<const double> numbers) const;
  void takeMemory(Execution& run, std::vector<Ref<Block>>& owned) const;
  bool renewKept(Execution& run, std::vector<Ref<Block>>& passing) const;
  Tensors outputs(const Tensors& bound, const std::vector<Ref<Block>>& owned) const;
  void leaveState(const std::vector<Ref<Block>>& owned) const;
  std::shared_ptr<Compiled> compiled_;
};

}  // namespace anneal
