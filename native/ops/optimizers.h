#pragma once
#include "op/define.h"

namespace anneal::ops {

// Updates of many tensors in one call. Inputs: the learning rate, the number of this step (from 1), how gradients are
// clipped (they are limited to [-limit, limit] and then multiplied by `scale`), and then `tensors`: n parameters, n
// gradients, and n of each state; results: n new parameters, and n of each new state, in the memory of the old ones
// where nobody else holds it.

struct DescentUpdate {
  double weightDecay = 0;
};
struct SgdUpdate {
  double momentum = 0, dampening = 0, weightDecay = 0;
  bool nesterov = false;
};
struct AdamUpdate {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0;
  bool decoupled = false;
};
struct RmsPropUpdate {
  double alpha = 0.99, eps = 1e-8, momentum = 0, weightDecay = 0;
  bool centered = false;
};
struct AdagradUpdate {
  double lrDecay = 0, eps = 1e-10, weightDecay = 0;
};
struct AdadeltaUpdate {
  double rho = 0.9, eps = 1e-6, weightDecay = 0;
};
struct LionUpdate {
  double beta1 = 0.9, beta2 = 0.99, weightDecay = 0;
};
struct LambUpdate {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-6, weightDecay = 0;
};
struct ClipNorm {
  double maxNorm = 1;
};

/// The places of an update's inputs.
struct UpdateInputs {
  enum : size_t { Lr, Step, Scale, Limit, Tensors };
};
/// How many parameters an operation updates; 0: it is no update.
size_t updatedBy(const Row& row, size_t inputs, size_t outputs);

extern const Op<DescentUpdate> descentUpdate;
extern const Op<SgdUpdate> sgdUpdate;
extern const Op<AdamUpdate> adamUpdate;
extern const Op<RmsPropUpdate> rmsPropUpdate;
extern const Op<AdagradUpdate> adagradUpdate;
extern const Op<AdadeltaUpdate> adadeltaUpdate;
extern const Op<LionUpdate> lionUpdate;
extern const Op<LambUpdate> lambUpdate;
/// The tensors scaled down so that the norm of all together is at most `maxNorm`; the norm is the last result.
extern const Op<ClipNorm> clipByGlobalNorm;
/// The norm of all tensors together, float32, and the factor that brings it to at most `maxNorm`, float64.
extern const Op<ClipNorm> globalNorm;

}  // namespace anneal::ops
