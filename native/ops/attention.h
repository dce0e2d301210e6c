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
};
/// The same with the scale decided, and the log-sum-exp of each query's scores as a second output; its gradient needs
/// no more.
extern const Op<Flash> flashAttention;
/// The gradients of q, k and v.
extern const Op<Flash> flashAttentionGrad;

}  // namespace anneal::ops
