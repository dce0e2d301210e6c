#pragma once
#include <cstdint>
#include <vector>

#include "core/dtype.h"

namespace anneal::cpu {

/// Alpha has two leading places per frame that stay -Infinity, for the states before the first.
inline constexpr int64_t kCtcPadding = 2;

/// One sample: its log-probabilities, frame by frame, and the labels of its states: the target with a blank before,
/// between and after its labels.
struct CtcSample {
  const void* logProbs = nullptr;
  int64_t frames = 0, frameStep = 0;  // elements from one frame of the sample to the next
  std::vector<int64_t> labels;
};

/// The forward and backward passes of Graves et al. (2006), section 4, in logarithms.
struct CtcLoops {
  /// Writes alpha [frames, alphaStep], the log-probability of each state with all that leads to it; gives the loss.
  double (*forward)(const CtcSample& sample, void* alpha, int64_t alphaStep);
  /// Adds scale * d(loss) / d(logProbs) to `gradient`, laid out as the log-probabilities.
  void (*backward)(const CtcSample& sample, const void* alpha, int64_t alphaStep, double loss, double scale,
                   void* gradient);
};
CtcLoops ctcLoops(DType compute);

}  // namespace anneal::cpu
