#pragma once
#include <functional>
#include <string_view>

#include "flash.h"

namespace anneal::cuda {

/// Whether ANNEAL_CUDA_ATTENTION chooses this way.
bool attentionIs(std::string_view way);

/// Some way to compute attention, and its gradients: see flash.h.
struct FlashWay {
  std::function<void(const FlashCall&, const View& out, const View& logSumExp)> forward;
  std::function<void(const FlashCall&, const View& out, const View& logSumExp, const View& grad, const View& dq,
                     const View& dk, const View& dv)>
      gradients;
};

/// A small problem of random numbers, with several tiles, of which the last ones are not full.
struct FlashProbe {
  DType dtype;
  int64_t depth, width;  // of queries and keys, and of values
  bool gradients;
  int64_t batch = 1, pairs = 1, group = 1;  // `pairs` heads of keys and values, each of which `group` queries share
  double scale = 0.5;
};

/// How many results of a way, causal and not, differ by more than rounding from those of single warps. Waits for the
/// GPU.
int othersOf(const FlashProbe& probe, const FlashWay& way);

/// Says so, with the reason, where what was compared cannot be used; `fallback` computes it from then on.
void warnOf(const FlashProbe& probe, std::string_view way, std::string_view fallback, const std::string& reason);

}  // namespace anneal::cuda
