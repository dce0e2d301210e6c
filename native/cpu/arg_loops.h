#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace anneal::cpu {

/// Where the largest or smallest element is; the first of equal ones, and NaN before anything else.
/// `row` gives the index in n neighbouring elements, and the element. `columns` does so for each of `width` columns of
/// n rows that are `stride` apart; width is at most kArgWidth.
struct ArgLoops {
  int64_t (*row)(const void* x, int64_t n, void* found) = nullptr;
  void (*columns)(const void* x, int64_t n, int64_t stride, int64_t width, int64_t* indices) = nullptr;
};
inline constexpr int64_t kArgWidth = 512;

ArgLoops argLoops(bool largest, DType compute);

}  // namespace anneal::cpu
