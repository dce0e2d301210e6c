#pragma once
#include <cmath>

#include "op/define.h"

namespace anneal::ops {

extern const Op<None> add, sub, mul, div, floorDiv, mod, fmod, pow, maximum, minimum, atan2, hypot;
extern const Op<None> neg, abs, sign, square, reciprocal, lerp;

struct Clamp {
  std::optional<double> min, max;
  void params(double* p) const {
    p[0] = min.value_or(-INFINITY);
    p[1] = max.value_or(INFINITY);
  }
};
extern const Op<Clamp> clamp;

/// The factor of the product in addcmul and the quotient in addcdiv.
struct Scaled {
  double value = 1;
};
extern const Op<Scaled> addcmul, addcdiv;

struct Cast {
  DType dtype = DType::Float32;
};
extern const Op<Cast> cast;

}  // namespace anneal::ops
