#pragma once
// What the families of normalisations share: checks, and gradients as compositions.
#include "cpu/norm.h"
#include "ops/arithmetic.h"
#include "ops/creation.h"
#include "ops/math.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/views.h"

namespace anneal::ops {

/// The type of statistics and of the gradients of parameters.
inline DType statisticsType(DType d) { return d == DType::Float64 ? DType::Float64 : DType::Float32; }

inline Tensor inStatisticsType(const Tensor& x, DType like) {
  return x.dtype() == statisticsType(like) ? x : cast(x, {.dtype = statisticsType(like)});
}

inline Tensor inverseRoot(const Tensor& x, double eps) { return rsqrt(add(x, number(eps))); }

inline void checkInput(const std::string& op, const Tensor& x, int least) {
  require(isFloat(x.dtype()), Code::DType, op, ": the input must be of a floating-point dtype; got ", x.dtype(),
          "; convert it with cast()");
  require(x.rank() >= least, Code::Shape, op, ": the input needs at least ", least, " axes, channels last; got ",
          x.shape());
}

inline void checkParameter(const std::string& op, const char* what, const Tensor& p, const Shape& shape) {
  if (!p) return;
  require(p.shape() == shape, Code::Shape, op, ": ", what, " must have the shape ", shape, "; got ", p.shape());
  require(isFloat(p.dtype()), Code::DType, op, ": ", what, " must be of a floating-point dtype; got ", p.dtype());
}

/// scale * (w * grad - average of that - normalised x * average of (w * grad * normalised x)), averages over `axes`.
inline Tensor normGradient(const Tensor& weighted, const Tensor& normal, const Tensor& scale, const Ints& axes,
                           bool centered) {
  const Reduce over{.axis = axes, .keepDims = true};
  Tensor inner = sub(weighted, mul(normal, mean(mul(weighted, normal), over)));
  if (centered) inner = sub(inner, mean(weighted, over));
  return mul(scale, inner);
}

}  // namespace anneal::ops
