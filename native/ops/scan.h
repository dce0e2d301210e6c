#pragma once
#include "op/define.h"

namespace anneal::ops {

struct Cumulative {
  int64_t axis = 0;
  bool reverse = false;
};
extern const Op<Cumulative> cumsum;

struct CumulativeProduct {
  int64_t axis = 0;
};
extern const Op<CumulativeProduct> cumprod;
/// The gradient of `x`, of which `products` are the running products along `axis`, from that of `products`.
Tensor cumprodGradient(const Tensor& x, const Tensor& products, const Tensor& grad, int64_t axis);

/// linearScan(gain, x): y[k] = x[k] + gain[k] * y[k - 1] along the axis; if `reverse`, its transpose with respect to x,
/// y[k] = x[k] + gain[k + 1] * y[k + 1].
extern const Op<Cumulative> linearScan;

}  // namespace anneal::ops
