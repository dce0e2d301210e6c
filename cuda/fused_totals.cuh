#pragma once
// What kernels for fused operations with totals are made of: see fused.cuh.
#include "fused.cuh"
#include "reducers.cuh"
#include "totals.cuh"

namespace anneal::cuda {

/// Where a group's share of a result goes: the result itself, of type T, or a state to be merged later.
template <class T, class R>
__device__ __forceinline__ void deliver(const R& reducer, typename R::State state, const Share& share, int64_t pieces,
                                        void* result, void* states) {
  if (pieces == 1) static_cast<T*>(result)[share.result] = cpu::convertTo<T>(reducer.result(state));
  else static_cast<typename R::State*>(states)[share.result * pieces + share.part] = state;
}

}  // namespace anneal::cuda
