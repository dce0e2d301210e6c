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

}  // namespace anneal::cuda
