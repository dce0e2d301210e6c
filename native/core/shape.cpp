#include "core/shape.h"

#include <algorithm>

namespace anneal {

Strides contiguousStrides(const Shape& shape) {
  Strides strides = Dims::filled(shape.rank(), 1);
  for (int i = shape.rank() - 2; i >= 0; --i) strides[i] = strides[i + 1] * std::max<int64_t>(shape[i + 1], 1);
  return strides;
}

bool isContiguous(const Shape& shape, const Strides& strides) {
  int64_t expected = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

Shape broadcast(std::string_view op, const Shape& a, const Shape& b) {
  if (a == b || b.rank() == 0) return a;
  if (a.rank() == 0) return b;
  const Shape& longer = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  Shape out = longer;
  for (int i = 1; i <= shorter.rank(); ++i) {
    int64_t x = longer.back(i), y = shorter.back(i);
    require(x == y || x == 1 || y == 1, Code::Shape, op, ": shapes do not broadcast: ", a, " with ", b,
            "; from the last axis backwards, sizes must be equal or 1");
    out[out.rank() - i] = x == 1 ? y : x;
  }
  return out;
}

Strides broadcastStrides(const Shape& shape, const Strides& strides, const Shape& target) {
  Strides out = Dims::filled(target.rank(), 0);
  for (int i = 1; i <= shape.rank(); ++i)
    if (shape.back(i) != 1) out[target.rank() - i] = strides.back(i);
  return out;
}

int resolveAxis(std::string_view op, int64_t axis, int rank) {
  int64_t resolved = axis < 0 ? axis + rank : axis;
  require(resolved >= 0 && resolved < rank, Code::Index, op, ": axis ", axis, " is out of range for a tensor with ",
          rank, rank == 1 ? " axis" : " axes");
  return int(resolved);
}

void checkShape(std::string_view op, const Shape& shape) {
  // 2^60 elements keep every byte count and stride inside an int64.
  int64_t n = 1;
  for (int64_t size : shape) {
    require(size >= 0, Code::Shape, op, ": sizes must be 0 or more; got ", shape);
    if (size == 0) continue;
    require(n <= (int64_t(1) << 60) / size, Code::Shape, op, ": shape ", shape, " has too many elements");
    n *= size;
  }
}

}  // namespace anneal
