#pragma once
#include <array>
#include <span>

#include "runtime/task.h"

namespace anneal {

/// The loop nest over the output after joining axes that are contiguous with each other in every operand.
template <int Most>
struct NestOf {
  static constexpr int kMost = Most;  // operands: inputs, then the output
  int operands;
  Shape shape;
  std::array<Strides, kMost> strides;

  NestOf(std::span<const View> in, const View& out) : operands(int(in.size()) + 1) {
    std::array<Strides, kMost> full;
    for (size_t i = 0; i < in.size(); ++i) full[i] = broadcastStrides(in[i].shape, in[i].strides, out.shape);
    full[in.size()] = out.strides;
    for (int axis = 0; axis < out.shape.rank(); ++axis) {
      if (out.shape[axis] == 1) continue;
      if (shape.rank() && joins(full, axis, out.shape[axis])) continue;
      shape.push(out.shape[axis]);
      for (int i = 0; i < operands; ++i) strides[size_t(i)].push(full[size_t(i)][axis]);
    }
    if (shape.rank() == 0) {
      shape.push(out.shape.product());
      for (int i = 0; i < operands; ++i) strides[size_t(i)].push(1);
    }
  }

 private:
  bool joins(const std::array<Strides, kMost>& full, int axis, int64_t size) {
    int last = shape.rank() - 1;
    for (int i = 0; i < operands; ++i)
      if (strides[size_t(i)][last] != full[size_t(i)][axis] * size) return false;
    shape[last] *= size;
    for (int i = 0; i < operands; ++i) strides[size_t(i)][last] = full[size_t(i)][axis];
    return true;
  }
};
using Nest = NestOf<5>;

}  // namespace anneal
