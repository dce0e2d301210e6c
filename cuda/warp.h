#pragma once
// Also for kernels that are compiled at run time: nothing of the host.
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace anneal::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

/// Calls `shuffle` for each 4-byte word of a value of any type of whole words.
template <class T, class F>
__device__ __forceinline__ T shuffleWords(T value, F&& shuffle) {
  static_assert(sizeof(T) % 4 == 0);
  int words[sizeof(T) / 4];
  memcpy(words, &value, sizeof value);
#pragma unroll
  for (int& word : words) word = shuffle(word);
  memcpy(&value, words, sizeof value);
  return value;
}

/// `value` of the lane whose number differs in `bits`.
template <class T>
__device__ __forceinline__ T shuffleXor(T value, int bits) {
  return shuffleWords(value, [bits](int word) { return __shfl_xor_sync(kAllLanes, word, bits); });
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

/// What came before a thread, and all there is.
template <class T>
struct Prefix {
  T before, all;
};

/// `merge`, in order, over the values of the warp's lanes before this one.
template <class T, class Merge>
__device__ __forceinline__ Prefix<T> scanWarp(T value, T none, Merge merge) {
  const int lane = int(threadIdx.x) % kWarp;
#pragma unroll
  for (int by = 1; by < kWarp; by *= 2) {
    const T before = shuffleWords(value, [by](int word) { return __shfl_up_sync(kAllLanes, word, unsigned(by)); });
    if (lane >= by) value = merge(before, value);
  }
  const T before = shuffleWords(value, [](int word) { return __shfl_up_sync(kAllLanes, word, 1u); });
  const T all = shuffleWords(value, [](int word) { return __shfl_sync(kAllLanes, word, kWarp - 1); });
  return {lane == 0 ? none : before, all};
}

/// The same over a block of whole warps along x. All threads take part; `shared` has room for 32 values.
template <class T, class Merge>
__device__ __forceinline__ Prefix<T> scanBlock(T value, T none, T* shared, Merge merge) {
  const int warps = int(blockDim.x) / kWarp, warp = int(threadIdx.x) / kWarp;
  Prefix<T> own = scanWarp(value, none, merge);
  __syncthreads();  // `shared` may have been read just before
  if (int(threadIdx.x) % kWarp == 0) shared[warp] = own.all;
  __syncthreads();
  T before = none;
  for (int i = 0; i < warp; ++i) before = merge(before, shared[i]);
  T all = before;
  for (int i = warp; i < warps; ++i) all = merge(all, shared[i]);
  return {merge(before, own.before), all};
}

}  // namespace anneal::cuda
