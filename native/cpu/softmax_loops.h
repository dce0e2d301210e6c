#pragma once
#include "cpu/softmax.h"

namespace anneal::cpu {

/// Along rows: `rows` rows of n elements without gaps. Along columns: n rows of `width` columns, each row `stride`
/// after the one before; width is at most kSoftmaxWidth.
struct SoftmaxLoops {
  void (*rows)(const void* a, const void* b, void* out, int64_t rows, int64_t n) = nullptr;
  void (*columns)(const void* a, const void* b, void* out, int64_t n, int64_t stride, int64_t width) = nullptr;
};
inline constexpr int64_t kSoftmaxWidth = 256;

SoftmaxLoops softmaxLoops(SoftmaxKind kind, DType compute);

}  // namespace anneal::cpu
