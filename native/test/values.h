#pragma once
// Between tensors and vectors, as a host would do it.
#include <algorithm>
#include <vector>

#include "graph/tape.h"
#include "ops/views.h"
#include "runtime/context.h"

namespace anneal::test {

using Floats = std::vector<float>;

inline Tensor tensorOf(const Floats& values, const Shape& shape) {
  Tensor t = emptyTensor({shape, DType::Float32}, device(), true);
  std::copy(values.begin(), values.end(), t.view().as<float>());
  return t;
}

inline Tensor parameterOf(const Floats& values, const Shape& shape) {
  Tensor t = tensorOf(values, shape);
  requireGrad(t);
  return t;
}

inline Tensor indicesOf(const std::vector<int64_t>& values) {
  Tensor t = emptyTensor({{int64_t(values.size())}, DType::Int64}, device(), true);
  std::copy(values.begin(), values.end(), t.view().as<int64_t>());
  return t;
}

/// The values in row-major order, when they are there; throws the error of the task that failed to compute them.
inline Floats valuesOf(const Tensor& t) {
  GradMode off(false);
  const Tensor whole = t.contiguous() ? t : ops::contiguous(t);
  const View v = whole.view();
  device().synchronize();
  if (v.block && v.block->fault) throw Error(*v.block->fault);
  return {v.as<float>(), v.as<float>() + v.size()};
}

inline float valueOf(const Tensor& t) { return valuesOf(t).at(0); }

}  // namespace anneal::test
