#pragma once
#include "core/dtype.h"

namespace anneal::cpu {

/// One row of logits and what it is compared with. Arrays have `classes` elements of the type computed in.
struct CrossEntropyRow {
  const void* logits = nullptr;
  const void* probabilities = nullptr;  // soft targets; null where `target` names the class
  const double* weights = nullptr;      // of the classes; null: 1
  int64_t classes = 0, target = 0;
  double smoothing = 0;
};

struct CrossEntropySums {
  double loss = 0, logSumExp = 0;
  double weight = 0;  // sum of the smoothed target's probabilities, each times its class weight
};

struct CrossEntropyLoops {
  CrossEntropySums (*forward)(const CrossEntropyRow& row);
  /// gradient = scale * (weight * softmax(logits) - smoothed and weighted target)
  void (*backward)(const CrossEntropyRow& row, const CrossEntropySums& sums, double scale, void* gradient);
};
CrossEntropyLoops crossEntropyLoops(DType compute);

}  // namespace anneal::cpu
