#pragma once
// Rows of a matrix, each worked on by a warp or, where it is long, by a block: who has which.
#include <algorithm>
#include <initializer_list>

#include "device.h"
#include "index.h"
#include "rowwise.cuh"
#include "value.h"

namespace anneal::cuda {

/// e^x of a float that is to be stored as T: the 16-bit floats need no more than the GPU's own approximation.
template <class T>
__device__ __forceinline__ Computed<T> exponential(Computed<T> x) {
  if constexpr (sizeof(T) == 2) return __expf(x);
  else return std::exp(x);
}

struct RowPlan {
  int held = 0;  // packs that each thread holds of a row; 0: it is looped over
  dim3 block;    // x: threads for each row, whole warps; y: rows, more than one for warps only
  unsigned blocksFor(int64_t rows) const { return anneal::cuda::blocksFor(rows, block.y); }
};

/// How rows of `size` elements of type T are shared among threads, each holding one or `most` packs of a row. All of
/// `memory` is to be read in packs.
template <class T>
RowPlan planRows(int64_t size, int most, std::initializer_list<const void*> memory) {
  const int64_t packs = (size + kPack<T> - 1) / kPack<T>;
  const bool whole = size % kPack<T> == 0 && std::all_of(memory.begin(), memory.end(), aligned);
  RowPlan plan;
  if (whole && packs > 0 && sizeof(T) < 8 && packs <= int64_t(most) * kRowThreads)
    plan.held = packs <= kWarp ? 1 : most;
  const int64_t threads = (packs + std::max(1, plan.held) - 1) / std::max(1, plan.held);
  plan.block.x = unsigned(std::clamp<int64_t>((threads + kWarp - 1) / kWarp * kWarp, kWarp, kRowThreads));
  plan.block.y = plan.block.x == kWarp ? kWarpRows : 1;
  return plan;
}

/// Calls f(TypeTag<T>) for the four float dtypes.
template <class F>
void visitFloat(DType dtype, F&& f) {
  switch (dtype) {
    case DType::Float32: return f(TypeTag<float>{});
    case DType::Float64: return f(TypeTag<double>{});
    case DType::Float16: return f(TypeTag<Half>{});
    default: return f(TypeTag<BFloat16>{});
  }
}

/// Calls f with the number of packs that a plan has threads hold, as a constant: 1, `Most`, or 0.
template <class T, int Most, class F>
void visitHeld(const RowPlan& plan, F&& f) {
  if constexpr (!std::is_same_v<T, double>) {
    if (plan.held == 1) return f(std::integral_constant<int, 1>{});
    if (plan.held == Most) return f(std::integral_constant<int, Most>{});
  }
  f(std::integral_constant<int, 0>{});
}

}  // namespace anneal::cuda
