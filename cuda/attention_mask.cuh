#pragma once
#include <optional>

#include "copy.h"
#include "index.h"
#include "value.h"

namespace anneal::cuda {

/// Which keys take part, and what, of type T, is added to their scores.
template <class T>
struct AttentionMask {
  const bool* allowed = nullptr;
  const T* added = nullptr;
  int64_t stride[4] = {};
  bool causal = false;

  __device__ float apply(float score, int batch, int head, int query, int key) const {
    if (causal && key > query) return -INFINITY;
    const int64_t at = batch * stride[0] + head * stride[1] + query * stride[2] + key * stride[3];
    if (allowed) return allowed[at] ? score : -INFINITY;
    return added ? score + cpu::convertTo<float>(added[at]) : score;
  }
};

/// Takes a mask in the device's memory that broadcasts to the scores of q and k.
template <class T>
void setMask(AttentionMask<T>& to, const View& mask, const View& q, const View& k) {
  const Strides strides = broadcastStrides(mask.shape, mask.strides, {q.shape[0], q.shape[1], q.shape[2], k.shape[2]});
  for (int i = 0; i < 4; ++i) to.stride[i] = strides[i];
  if (mask.dtype == DType::Bool) to.allowed = mask.as<const bool>();
  else to.added = mask.as<const T>();
}

}  // namespace anneal::cuda
