#pragma once
#include "op/define.h"

namespace anneal::ops {

struct AttentionOptions {
  bool causal = false;
  std::optional<double> scale;
  double dropoutP = 0;
};
/// softmax(q kᵀ scale + mask) v for [B, H, T, D].
extern const Op<AttentionOptions> scaledDotProductAttention;

struct Flash {
  bool causal = false;
  double scale = 1;
  double dropoutP = 0;  // weights are dropped as dropout() drops elements of [B, H, Tq, Tk] under the same key
};
/// The same with the scale and the key of dropout decided, and the log-sum-exp of each query's scores as a second
/// output; its gradient needs no more. The result is [B, Tq, H, Dv], from where the projection that follows goes on.
extern const Op<Flash> flashAttention;

struct FlashGrad : Flash {
  bool joined = false;  // all three lie side by side in one tensor [B, T, H + 2 Hkv, D]
};
/// The gradients of q, k and v, each [B, T, heads, depth].
extern const Op<FlashGrad> flashAttentionGrad;

/// [B, T, heads, depth] as heads [B, heads, T, depth].
View headsOf(const View& v);

/// The outputs of flashAttentionGrad as heads.
struct HeadGradients {
  View q, k, v;
  HeadGradients(const FlashGrad& attrs, std::span<const View> in, std::span<const View> out);
};

}  // namespace anneal::ops
