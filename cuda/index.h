#pragma once
#include <cstdint>

#include "elements.h"
#include "launch.h"
#include "op/nest.h"

namespace anneal::cuda {

/// A loop nest of up to 2^31 elements as kernels walk it: from the number of an element to where it lies in each of N
/// operands. In 32 bits offsets are below 2^31 elements too: see split().
template <int N, class Offset = int32_t>
struct Walk {
  int rank = 0;
  Divider size[kMaxRank];           // of each axis, the innermost first
  Offset stride[kMaxRank][N] = {};  // in elements

  Walk() = default;
  explicit Walk(const Nest& nest) : rank(nest.shape.rank()) {
    for (int i = 0; i < rank; ++i) {
      const int axis = rank - 1 - i;
      size[i] = Divider(uint32_t(nest.shape[axis]));
      for (int k = 0; k < N; ++k) stride[i][k] = Offset(nest.strides[size_t(k)][axis]);
    }
  }

  __device__ void place(uint32_t index, Offset (&at)[N]) const {
    for (int k = 0; k < N; ++k) at[k] = 0;
#pragma unroll 1
    for (int i = 0; i < rank; ++i) {
      const uint32_t outer = i + 1 < rank ? size[i].quotient(index) : 0;
      const auto inner = int32_t(index - outer * size[i].divisor);
#pragma unroll
      for (int k = 0; k < N; ++k) at[k] += inner * stride[i][k];
      index = outer;
    }
  }
};

/// Calls `run(nest, offsets)` for parts of the nest that are small enough for 32-bit numbers; offsets are in elements,
/// one for each operand.
template <class F>
void split(const Nest& nest, std::array<int64_t, Nest::kMost> offsets, F&& run) {
  constexpr int64_t kMost = int64_t(1) << 31;
  bool fits = nest.shape.product() < kMost;
  for (int k = 0; k < nest.operands; ++k) {
    int64_t reach = 0;
    for (int i = 0; i < nest.shape.rank(); ++i) reach += (nest.shape[i] - 1) * std::abs(nest.strides[size_t(k)][i]);
    fits &= reach < kMost;
  }
  if (fits) return run(nest, offsets);
  int largest = 0;
  for (int i = 1; i < nest.shape.rank(); ++i)
    if (nest.shape[i] > nest.shape[largest]) largest = i;
  Nest half = nest;
  half.shape[largest] = nest.shape[largest] / 2;
  split(half, offsets, run);
  for (int k = 0; k < nest.operands; ++k) offsets[size_t(k)] += half.shape[largest] * nest.strides[size_t(k)][largest];
  half.shape[largest] = nest.shape[largest] - half.shape[largest];
  split(half, offsets, run);
}

inline bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace anneal::cuda
