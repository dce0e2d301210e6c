#pragma once
#include <optional>

#include "cpu/philox.h"

namespace anneal::cpu {

/// Weights whose word, by their number among all of [B, H, Tq, Tk], is below `bound` are 0; the others grow by `scale`.
struct AttentionDropout {
  Key key;
  uint32_t bound;
  float scale;
};

/// Attention over float32 heads in tiles, with the softmax done online: Dao et al., "FlashAttention" (2022).
/// q [B, H, Tq, D], k [B, Hkv, Tk, D], v [B, Hkv, Tk, Dv], of any strides; H is a multiple of Hkv.
struct Attention {
  View q, k, v;
  View mask;            // undefined, or bool (true: takes part) or float32 (added), broadcasting to [B, H, Tq, Tk]
  bool causal = false;  // query i sees keys 0 to i
  float scale = 1;
  std::optional<AttentionDropout> dropout;
};

/// out [B, H, Tq, Dv], contiguous along the depth; logSumExp [B, H, Tq] of each query's scores, +infinity where all are
/// masked, contiguous.
void attentionForward(const Attention& a, const View& out, float* logSumExp);

/// The gradients of q, k and v. All but those three and `logSumExp` are contiguous along the depth; so are the results.
void attentionBackward(const Attention& a, const View& out, const float* logSumExp, const View& grad, const View& dq,
                       const View& dk, const View& dv);

}  // namespace anneal::cpu
