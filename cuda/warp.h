#pragma once
#include "launch.h"

namespace anneal::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

/// `value` of the lane whose number differs in `bits`, for any type of whole 4-byte words.
template <class T>
__device__ __forceinline__ T shuffleXor(T value, int bits) {
  static_assert(sizeof(T) % 4 == 0);
  int words[sizeof(T) / 4];
  memcpy(words, &value, sizeof value);
#pragma unroll
  for (int& word : words) word = __shfl_xor_sync(kAllLanes, word, bits);
  memcpy(&value, words, sizeof value);
  return value;
}

/// `merge` over the warp's values, in every lane; in the same order always.
template <class T, class Merge>
__device__ __forceinline__ T mergeWarp(T value, Merge merge) {
#pragma unroll
  for (int bits = kWarp / 2; bits > 0; bits /= 2) value = merge(value, shuffleXor(value, bits));
  return value;
}

/// `merge` over the values of a block of whole warps along x, in every thread. All threads take part; `shared` has room
/// for 32 values.
template <class T, class Merge>
__device__ __forceinline__ T mergeBlock(T value, T* shared, Merge merge) {
  value = mergeWarp(value, merge);
  const int warps = int(blockDim.x) / kWarp;
  if (warps == 1) return value;
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  __syncthreads();  // `shared` may have been read just before
  if (lane == 0) shared[warp] = value;
  __syncthreads();
  value = shared[0];
  for (int i = 1; i < warps; ++i) value = merge(value, shared[i]);
  return value;
}

}  // namespace anneal::cuda
