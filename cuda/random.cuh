#pragma once
// Keys of random operations, and moving the neighbours that a thread makes in packs.
#include <algorithm>
#include <cstring>

#include "rowwise.cuh"
#include "runtime/task.h"
#include "words.cuh"

namespace anneal::cuda {

/// The key of a random op: a scalar that came with the call. Of one that is in the device's memory only the place is
/// known.
struct Key {
  int64_t seed = 0, offset = 0;
  const int64_t* memory = nullptr;
  Key() = default;
  explicit Key(const View& v) : memory(reinterpret_cast<const int64_t*>(v.memory)) {
    if (memory) return;
    std::memcpy(&seed, v.scalar.data(), sizeof seed);
    std::memcpy(&offset, v.scalar.data() + sizeof seed, sizeof offset);
  }
  __device__ Sequence sequence() const { return memory ? sequenceAt(memory) : Sequence{seed, offset}; }
};

/// Neighbours that a thread makes: one 16-byte access of 16-bit numbers, of wider ones the four of a block of words.
template <class T>
constexpr int kEach = sizeof(T) < 4 ? 8 : 4;

/// What one access moves of N neighbours.
template <class T, int N>
constexpr int kAccess = std::min(N, kPack<T>);

/// Whether all of N neighbours are there, and lie so that packs of them can be moved.
template <class T, int N>
__device__ __forceinline__ bool packed(const T* first, int64_t count) {
  return count >= N && reinterpret_cast<uintptr_t>(first) % (sizeof(T) * kAccess<T, N>) == 0;
}

/// N neighbours, of which the first `count` are there.
template <class T, int N>
__device__ __forceinline__ void loadNeighbours(const T* from, int64_t count, T (&to)[N]) {
  constexpr int P = kAccess<T, N>;
  if (packed<T, N>(from, count)) {
#pragma unroll
    for (int i = 0; i < N; i += P) {
      const auto pack = *reinterpret_cast<const Pack<T, P>*>(from + i);
#pragma unroll
      for (int k = 0; k < P; ++k) to[i + k] = pack.v[k];
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] = i < count ? from[i] : T();
}

template <class T, int N>
__device__ __forceinline__ void storeNeighbours(T* to, int64_t count, const T (&from)[N]) {
  constexpr int P = kAccess<T, N>;
  if (packed<T, N>(to, count)) {
#pragma unroll
    for (int i = 0; i < N; i += P) {
      Pack<T, P> pack;
#pragma unroll
      for (int k = 0; k < P; ++k) pack.v[k] = from[i + k];
      storePack(to + i, pack);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (i < count) to[i] = from[i];
}

}  // namespace anneal::cuda
