#pragma once
// What the kernels of attention by groups of warps share.
#include "flash.cuh"
#include "warpgroup.cuh"

namespace anneal::cuda {

/// Starts to copy rows from `row` on; what is outside becomes 0.
template <int Threads, int D, int Rows, class T>
__device__ __forceinline__ void copyPanels(const Panels<T, Rows>& to, const Heads<T>& heads, const T* from, int row) {
  constexpr int kParts = D / 8, kStep = Threads / kParts;
  static_assert(Rows % kStep == 0);
  const int first = int(threadIdx.x) / kParts, part = int(threadIdx.x) % kParts;
#pragma unroll
  for (int i = 0; i < Rows; i += kStep) {
    const int r = first + i, at = row + r;
    const bool inside = at < heads.rows && part * 8 < heads.columns;
    copyAsync(to.part(r, part), inside ? from + at * heads.row + part * 8 : from, inside);
  }
}

/// All copies have come, for products, too, and all threads are through with what they read before.
__device__ __forceinline__ void meetForProducts() {
  waitCopies<0>();
  fenceAsync();
  __syncthreads();
}

}  // namespace anneal::cuda
