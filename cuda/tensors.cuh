#pragma once
// Kernels over many tensors at once: a block for each chunk of each tensor, the tensors' addresses in the arguments.
#include <concepts>
#include <list>

#include "copy.h"
#include "rows.cuh"

namespace anneal::cuda {

constexpr DType kFloats[] = {DType::Float32, DType::Float64, DType::Float16, DType::BFloat16};
constexpr int kTensors = 96;  // in one launch: a kernel's arguments hold 32 KB
constexpr int kChunkThreads = 256;
constexpr int64_t kChunk = 4096;  // elements of a block

/// Neighbours that a thread takes at a time: 16 bytes of what they are computed in.
template <class T>
inline constexpr int kNeighbours = kPack<Computed<T>>;

/// Tensors, each with as many arrays of its size.
template <int Arrays>
struct TensorTable {
  struct Entry {
    void* arrays[Arrays];
    int64_t size;
    unsigned firstChunk;
    bool packed;  // all arrays can be read in packs
  };
  Entry entries[kTensors];
  int count = 0;
  unsigned chunks = 0;

  /// The tensor that a chunk belongs to.
  __device__ int find(unsigned chunk) const {
    int low = 0, high = count - 1;
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (entries[middle].firstChunk <= chunk) low = middle;
      else high = middle - 1;
    }
    return low;
  }
};

/// Calls f(Run<N>, place) for what a thread has of its block's chunk: N neighbours, or single elements.
template <int N, class Entry, class F>
__device__ __forceinline__ void eachOfChunk(const Entry& e, F&& f) {
  const int64_t begin = int64_t(blockIdx.x - e.firstChunk) * kChunk,
                end = begin + kChunk < e.size ? begin + kChunk : e.size;
  if (e.packed) {
    for (int64_t i = begin + threadIdx.x * N; i < end; i += kChunkThreads * N) {
      if (i + N <= end) f(Run<N>{}, i);
      else
        for (int64_t k = i; k < end; ++k) f(Run<1>{}, k);
    }
  } else {
    for (int64_t i = begin + threadIdx.x; i < end; i += kChunkThreads) f(Run<1>{}, i);
  }
}

/// Calls run(table) for tables of those tensors that have elements and that takes(i) takes: `arrayOf(i, k)` is the k-th
/// array of tensor i, like[i] tells its size.
template <int Arrays, class P, class A, class F>
requires std::predicate<P, size_t>
void eachTable(std::span<const View> like, P&& takes, A&& arrayOf, F&& run) {
  TensorTable<Arrays> table;
  const auto flush = [&] {
    if (table.count > 0) run(table);
    table.count = 0;
    table.chunks = 0;
  };
  for (size_t i = 0; i < like.size(); ++i) {
    if (like[i].size() == 0 || !takes(i)) continue;
    auto& e = table.entries[table.count++];
    e.size = like[i].size();
    e.firstChunk = table.chunks;
    e.packed = true;
    for (int k = 0; k < Arrays; ++k) {
      e.arrays[k] = arrayOf(i, k);
      e.packed &= aligned(e.arrays[k]);
    }
    table.chunks += blocksFor(e.size, kChunk);
    if (table.count == kTensors) flush();
  }
  flush();
}

/// Views that have memory; a value that came with the call gets some.
class InMemory {
 public:
  explicit InMemory(std::span<const View> given) : views_(given.begin(), given.end()) {
    for (View& v : views_)
      if (!v.memory && v.size() > 0) v = made_.emplace_back(v, v.dtype).view();
  }
  std::span<const View> views() const { return views_; }

 private:
  std::vector<View> views_;
  std::list<Prepared> made_;
};

/// The same for those of a dtype.
template <int Arrays, class A, class F>
void eachTable(std::span<const View> like, DType dtype, A&& arrayOf, F&& run) {
  eachTable<Arrays>(
      like, [&](size_t i) { return like[i].dtype == dtype; }, arrayOf, run);
}

/// N neighbours of type T as what is computed in; `from` is aligned where N > 1.
template <int N, class T, class C>
__device__ __forceinline__ void loadPacked(const void* memory, int64_t at, C (&to)[N]) {
  const auto pack = *reinterpret_cast<const Pack<T, N>*>(static_cast<const T*>(memory) + at);
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] = cpu::convertTo<C>(pack.v[i]);
}
template <int N, class T>
__device__ __forceinline__ void storePacked(void* memory, int64_t at, const Computed<T> (&from)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack.v[i] = cpu::convertTo<T>(from[i]);
  storePack(static_cast<T*>(memory) + at, pack);
}

}  // namespace anneal::cuda
