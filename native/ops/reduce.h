#pragma once
#include "op/define.h"

namespace anneal::ops {

struct Reduce {
  std::optional<Ints> axis;
  bool keepDims = false;
};
extern const Op<Reduce> sum, mean, prod, max, min, any, all, countNonzero, logSumExp;

struct Variance {
  std::optional<Ints> axis;
  double correction = 1;
  bool keepDims = false;
};
/// The variance, and its root.
extern const Op<Variance> variance, standardDeviation;

struct Norm {
  double p = 2;
  std::optional<Ints> axis;
  bool keepDims = false;
};
extern const Op<Norm> norm;

struct SumTo {
  Ints shape;
};
extern const Op<SumTo> sumTo;

/// A reduction's result or gradient spread over its input of `shape`: the reduced axes come back with size 1, then
/// broadcast.
Tensor spread(const Tensor& reduced, const std::optional<Ints>& axis, const Shape& shape);
/// How many elements of `shape` a reduction over `axis` takes into each result.
int64_t reducedCount(const std::optional<Ints>& axis, const Shape& shape);

}  // namespace anneal::ops
