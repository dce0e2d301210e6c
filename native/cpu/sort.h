#pragma once
#include "runtime/task.h"

namespace anneal::cpu {

/// Sorts `x` along `axis`, equal elements in their order; NaN counts as the largest. `values` and `indices` (int64)
/// have the shape of x. All are contiguous.
void sort(const View& x, int axis, bool descending, const View& values, const View& indices);

/// The k largest or smallest elements along `axis`, the best first; NaN counts as the largest.
void topK(const View& x, int axis, int64_t k, bool largest, const View& values, const View& indices);

}  // namespace anneal::cpu
