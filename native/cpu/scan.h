#pragma once
#include "core/portable.h"
#include "runtime/task.h"

namespace anneal::cpu {

/// One axis of a row-major tensor as rows of n elements that are `step` apart. A scalar is one row of one element.
struct Lines {
  int64_t n = 1, step = 1, count = 1;
  Lines(const Shape& shape, int axis) {
    if (!shape.rank()) return;
    n = shape[axis];
    for (int i = axis + 1; i < shape.rank(); ++i) step *= shape[i];
    count = n ? shape.product() / n : 0;
  }
  ANNEAL_HD int64_t start(int64_t line) const { return line / step * n * step + line % step; }
};

/// Running sums or products of `x` along `axis`, from the end if `reverse`. Integers and bool give int64.
void cumulate(bool product, const View& x, int axis, bool reverse, const View& out);

/// out[k] = x[k] + gain[k] * out[k - 1], or if `reverse` out[k] = x[k] + gain[k + 1] * out[k + 1]. Floats of one dtype.
void linearScan(const View& gain, const View& x, int axis, bool reverse, const View& out);

}  // namespace anneal::cpu
