#pragma once
#include "device.h"

namespace anneal::cuda {

/// Where heads' rows are written: [batch, heads, time, depth], contiguous along the depth.
template <class T>
struct ResultHeads {
  T* data = nullptr;
  int64_t batch = 0, head = 0, row = 0;  // strides

  ResultHeads() = default;
  explicit ResultHeads(const View& v) : data(v.as<T>()), batch(v.strides[0]), head(v.strides[1]), row(v.strides[2]) {}
  __device__ __forceinline__ T* at(int b, int h) const { return data + b * batch + h * head; }
};

/// The same number; what follows from it is worked out where it is needed, instead of being held throughout a loop.
__device__ __forceinline__ int anew(int value) {
#if defined(__CUDA_ARCH__)
  asm volatile("" : "+r"(value));
#endif
  return value;
}

}  // namespace anneal::cuda
