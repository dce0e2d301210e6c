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

/// out [B, H, Tq, Dv]; logSumExp [B, H, Tq] of each query's scores, +infinity where all are masked. Both contiguous.
void attentionForward(const Attention& a, float* out, float* logSumExp);

/// The gradients of q, k and v, contiguous. `out`, `logSumExp` and `grad` (of out) are contiguous.
void attentionBackward(const Attention& a, const float* out, const float* logSumExp, const float* grad, float* dq,
                       float* dk, float* dv);

}  // namespace anneal::cpu
