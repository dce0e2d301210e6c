#pragma once
#include "ops/arithmetic.h"
#include "ops/creation.h"
namespace anneal::ops {
inline Tensor equal(const Tensor& a, const Tensor& b) {
  return cast(
      sub(sub(number(1), cast(greater(a, b), {.dtype = DType::Int32})), cast(greater(b, a), {.dtype = DType::Int32})),
      {.dtype = DType::Bool});
}
inline Tensor where(const Tensor& c, const Tensor& a, const Tensor& b) {
  Tensor f = cast(c, {.dtype = DType::Float32});
  return add(mul(f, a), mul(sub(number(1), f), b));
}
inline Tensor sign(const Tensor& a) {
  return sub(cast(greater(a, number(0)), {.dtype = a.dtype()}), cast(greater(number(0), a), {.dtype = a.dtype()}));
}
inline Tensor abs(const Tensor& a) { return mul(a, sign(a)); }
inline Tensor pow(const Tensor& a, const Tensor& b) { return exp(mul(b, log(a))); }
}  // namespace anneal::ops
