#pragma once
// Ways of cuDNN to compute a graph of operations.
#include <memory>

#include "dnn_descriptor.h"
#include "timing.h"

namespace anneal::cuda {

/// cuDNN for the calling thread's device. Throws where it cannot be started.
cudnnHandle_t dnnHandle();

/// Where an operand of a graph lies, by the name that its tensor has there.
struct DnnOperand {
  int64_t name;
  void* at;
};
using DnnOperands = std::vector<DnnOperand>;

/// With what it has been made of, which stays as long: whether cuDNN needs that is not documented.
struct DnnPlan {
  Descriptor plan, config;
  std::shared_ptr<const Descriptor> graph;
  int64_t workspace = 0;

  /// False where cuDNN refuses.
  bool run(const DnnOperands& operands) const;
  /// The same, also where there is no room for its working memory.
  bool tries(const DnnOperands& operands) const;
};
using DnnPlans = std::vector<std::shared_ptr<const DnnPlan>>;

/// What makes plans acceptable, and how many are wanted.
struct DnnWishes {
  bool mayRound = true;  // what is computed may have less than the operands' precision, as on tensor cores
  int64_t workspace = int64_t(1) << 30;
  size_t most = 1;
};

/// Plans that give the same in every run, as far as engines tell of themselves: of those that the heuristics name the
/// first that are acceptable, the likely fastest first.
DnnPlans plansOf(Descriptor graph, const DnnWishes& wishes);

struct TimedPlan {
  std::shared_ptr<const DnnPlan> plan;  // null where none can be run
  float milliseconds = 0;
};
/// Each is run on the operands, whose results are overwritten.
TimedPlan fastest(const DnnPlans& plans, const DnnOperands& operands);

}  // namespace anneal::cuda
