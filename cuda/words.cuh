#pragma once
// Random words for neighbouring elements, and what dropout makes of them. Also for kernels that are compiled at run
// time: nothing of the host.
#include "cpu/convert.h"
#include "runtime/philox.h"

namespace anneal::cuda {

/// What a key names: element i has word i % 4 of block i / 4.
struct Sequence {
  int64_t seed = 0, offset = 0;
  /// The words of elements 4 i to 4 i + 3 in a stream.
  __device__ void words(int64_t i, uint32_t stream, uint32_t (&out)[4]) const {
    philox::block(seed, uint64_t(offset) + uint64_t(i), stream, out);
  }
};

/// The sequence of a key in memory.
__device__ __forceinline__ Sequence sequenceAt(const void* key) {
  const auto* from = static_cast<const int64_t*>(key);
  return {from[0], from[1]};
}

/// The element's word of its block. Comparisons, since an index that is known late would put the block into memory.
__device__ __forceinline__ uint32_t wordOf(int64_t element, const uint32_t (&block)[4]) {
  const uint32_t low = element & 1 ? block[1] : block[0], high = element & 1 ? block[3] : block[2];
  return element & 2 ? high : low;
}

/// A word for each of N neighbours, from whole blocks or a part of one: the first is a multiple of N.
template <int N>
struct Words {
  uint32_t v[N] = {};

  __device__ __forceinline__ void draw(const Sequence& from, int64_t first, uint32_t stream) {
    uint32_t block[4];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (i % 4 == 0) from.words(int64_t(uint64_t(first) / 4) + i / 4, stream, block);
      v[i] = N < 4 ? wordOf(first + i, block) : block[i % 4];
    }
  }
  __device__ __forceinline__ uint32_t operator[](int i) const { return v[i]; }
};

/// What has a word from `bound` on, times `scale`; else 0. Computed in C.
template <class C>
struct Keep {
  uint32_t bound;
  C scale;
  __device__ explicit Keep(const double* numbers) : Keep(uint32_t(numbers[0]), C(numbers[1])) {}
  ANNEAL_HD Keep(uint32_t bound, C scale) : bound(bound), scale(scale) {}
  template <class T>
  __device__ __forceinline__ T operator()(uint32_t word, T x) const {
    const C kept = cpu::convertTo<C>(x) * scale;
    return cpu::convertTo<T>(word >= bound ? kept : C(0));
  }
};

}  // namespace anneal::cuda
