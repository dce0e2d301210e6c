#pragma once
// What kernels need to find their elements, without anything of the host: kernels that are compiled at run time include
// it too.
#include <cuda_runtime.h>

#include <cstdint>

namespace anneal::cuda {

/// Division of numbers below 2^31 by a fixed one: a multiplication and a shift (Granlund and Montgomery 1994).
struct Divider {
  uint32_t divisor = 1, magic = 1, shift = 0;

  Divider() = default;
  explicit Divider(uint32_t by) : divisor(by) {
    while (shift < 32 && (uint64_t(1) << shift) < by) ++shift;
    magic = uint32_t(((uint64_t(1) << 32) * ((uint64_t(1) << shift) - by)) / by + 1);
  }
  __device__ uint32_t quotient(uint32_t n) const { return (__umulhi(n, magic) + n) >> shift; }
};

/// As many elements as one 16-byte access moves, or fewer.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T v[N];
};

/// The element's number for a one-dimensional grid.
__device__ __forceinline__ int64_t threadNumber() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }

}  // namespace anneal::cuda
