#pragma once
#include "runtime/task.h"

namespace anneal::cpu {

/// Attention over float32 heads in tiles, with the softmax done online: Dao et al., "FlashAttention" (2022).
/// q [B, H, Tq, D], k [B, Hkv, Tk, D], v [B, Hkv, Tk, Dv], of any strides; H is a multiple of Hkv.
struct Attention {
  View q, k, v;
  View mask;            // undefined, or bool (true: takes part) or float32 (added), broadcasting to [B, H, Tq, Tk]
  bool causal = false;  // query i sees keys 0 to i
  float scale = 1;
};

/// out [B, H, Tq, Dv], contiguous along the depth; logSumExp [B, H, Tq] of each query's scores, +infinity where all are
/// masked, contiguous.
void attentionForward(const Attention& a, const View& out, float* logSumExp);

/// The gradients of q, k and v. All but those three and `logSumExp` are contiguous along the depth; so are the results.
void attentionBackward(const Attention& a, const View& out, const float* logSumExp, const View& grad, const View& dq,
                       const View& dk, const View& dv);

}  // namespace anneal::cpu
