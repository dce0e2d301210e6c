#pragma once
#include "op/define.h"

namespace anneal::ops {

/// The constants of selu (Klambauer et al. 2017).
inline constexpr double kSeluAlpha = 1.6732632423543772, kSeluScale = 1.0507009873554805;

extern const Op<None> relu, relu6, selu, silu, mish, hardSwish, hardSigmoid, softsign, logSigmoid, tanhShrink, prelu;

struct Slope {
  double slope = 0.01;
  void params(double* p) const { p[0] = slope; }
};
extern const Op<Slope> leakyRelu;

struct Elu {
  double alpha = 1;
  void params(double* p) const { p[0] = alpha, p[1] = 1, p[2] = 1; }
};
extern const Op<Elu> elu;

struct Celu {
  double alpha = 1;
  void params(double* p) const { p[0] = alpha, p[1] = 1, p[2] = 1 / alpha; }
};
extern const Op<Celu> celu;

enum class GeluForm { None, Tanh };
struct Gelu {
  GeluForm approximate = GeluForm::None;
};
extern const Op<Gelu> gelu;

struct Softplus {
  double beta = 1, threshold = 20;
  void params(double* p) const { p[0] = beta, p[1] = threshold; }
};
extern const Op<Softplus> softplus;

struct HardTanh {
  double min = -1, max = 1;
  void params(double* p) const { p[0] = min, p[1] = max; }
};
extern const Op<HardTanh> hardTanh;

struct Halves {
  int64_t axis = -1;
};
extern const Op<Halves> glu, reglu, geglu, swiglu;

struct Threshold {
  double limit = 0, value = 0;
};
extern const Op<Threshold> threshold;

}  // namespace anneal::ops
