#pragma once
#include "core/shape.h"

namespace anneal {

/// A shape around an axis: [outer, size, inner].
struct Around {
  int64_t outer, size, inner;
  Around(const Shape& shape, int axis)
      : outer(shape.slice(0, axis).product()),
        size(shape[axis]),
        inner(shape.slice(axis + 1, shape.rank()).product()) {}
};

}  // namespace anneal
