#pragma once
#include "index.h"

namespace anneal::cuda {

/// Positions of up to three axes, counted in one number below 2^31.
struct Box {
  int size[3] = {1, 1, 1}, count = 1;
  Divider all, plane, row;

  Box() = default;
  explicit Box(const Dims& d) : count(int(d.product())) {
    for (int i = 0; i < d.rank(); ++i) size[3 - d.rank() + i] = int(d[i]);
    const auto divider = [](int by) { return Divider(uint32_t(by > 0 ? by : 1)); };
    all = divider(count), plane = divider(size[1] * size[2]), row = divider(size[2]);
  }
  /// Splits a number below `count`.
  __device__ void place(uint32_t i, int (&at)[3]) const {
    const uint32_t d = plane.quotient(i), rest = i - d * plane.divisor, h = row.quotient(rest);
    at[0] = int(d), at[1] = int(h), at[2] = int(rest - h * row.divisor);
  }
  __device__ bool holds(int d, int h, int w) const {
    return unsigned(d) < unsigned(size[0]) && unsigned(h) < unsigned(size[1]) && unsigned(w) < unsigned(size[2]);
  }
  __device__ int64_t number(int d, int h, int w) const { return (int64_t(d) * size[1] + h) * size[2] + w; }
};

/// Throws an Error (Shape) where positions cannot be counted in 32 bits.
inline void checkPositions(const char* what, int64_t most) {
  require(most < (int64_t(1) << 31), Code::Shape, what, ": ", most,
          " positions; on a GPU there may be at most 2^31 - 1: compute the batch in parts");
}

}  // namespace anneal::cuda
