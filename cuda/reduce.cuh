#pragma once
// Reductions over any axes of a tensor of any strides, by reducers (reducers.cuh). Everything is merged in an order
// that depends on shapes and strides alone.
#include <algorithm>
#include <vector>

#include "core/portable.h"
#include "device.h"
#include "index.h"
#include "reducers.cuh"
#include "totals.cuh"
#include "value.h"

namespace anneal::cuda {

constexpr int kColumnRows = kReduceThreads / kWarp;

/// How the elements of a tensor fall together: `kept` leads to the first of a result's elements and to the result;
/// `reduced` from there to the others.
struct Reducing {
  Walk<2, int64_t> kept;
  Walk<1, int64_t> reduced;
  int64_t results = 1, count = 1;  // elements in each result
  int64_t step = 0;                // of the reduced elements, where they are at equal distances
  bool even = false;               // whether they are
  bool columns = false;            // neighbouring results lie closer in memory than the elements of one
  /// Whether the elements of a result are neighbours in memory.
  ANNEAL_HD bool rows() const { return even && step == 1 && !columns; }
};

/// The plan of a reduction of `x` over `axes` (sorted, from 0), the results contiguous in the order of the other axes.
/// With `ordered` the elements of a result are counted in the order of their indices.
Reducing reducingOf(const View& x, const Ints& axes, bool ordered);

/// How elements are shared among threads, so that there is work for the whole GPU.
Shares sharesOf(const Reducing& r);
/// The same for the rows of a matrix without gaps.
Shares sharesOfRows(int64_t rows, int64_t width);

/// Elements in memory of type S, or of any dtype where S is void, as the type they are reduced in.
template <class S>
struct Elements {
  using Value = Accumulated<S>;
  static constexpr bool kPacked = true;
  static constexpr int kAtOnce = 32 / int(sizeof(S));  // elements of a column, whose loads are under way together
  const S* memory;
  __device__ Value at(int64_t i) const { return cpu::convertTo<Value>(memory[i]); }
  /// Whether elements from `i` on can be read together.
  __device__ bool packs(int64_t i) const {
    return reinterpret_cast<uintptr_t>(memory + i) % alignof(Pack<S, kTogether>) == 0;
  }
  /// Calls take(k, x) for elements i + k, 0 <= k < n; with `Packed`, which wants packs(i), in one access.
  template <bool Packed, class F>
  __device__ __forceinline__ void together(int64_t i, int n, F&& take) const {
    if (Packed && n == kTogether) {
      const auto pack = *reinterpret_cast<const Pack<S, kTogether>*>(memory + i);
#pragma unroll
      for (int k = 0; k < kTogether; ++k) take(k, cpu::convertTo<Value>(pack.v[k]));
    } else {
#pragma unroll
      for (int k = 0; k < kTogether; ++k)
        if (k < n) take(k, at(i + k));
    }
  }
};
template <>
struct Elements<void> {
  using Value = int64_t;
  static constexpr bool kPacked = false;
  static constexpr int kAtOnce = 2;  // each takes many registers
  const void* memory;
  DType dtype;
  __device__ int64_t at(int64_t i) const { return loadAs<int64_t>(memory, dtype, i); }
};

struct Target {
  void* memory;
  DType dtype;
};

/// Where a block's or a warp's share of a result goes: the result itself, or a state to be merged later.
template <class R>
__device__ __forceinline__ void deliver(const R& reducer, typename R::State state, int64_t result, int64_t piece,
                                        int64_t pieces, Target out, typename R::State* states) {
  if (pieces == 1) storeAs(out.memory, out.dtype, result, reducer.result(state));
  else states[result * pieces + piece] = state;
}

/// What a thread's part of a share comes to, of elements that lie anywhere.
template <class R, class E>
__device__ __forceinline__ typename R::State scatteredPart(const R& reducer, const E& x, const Reducing& r,
                                                           const Share& share, int64_t base) {
  // Each thread has every so many-th element, in two chains, so that loads overlap.
  auto state = reducer.none(), second = reducer.none();
  const auto take = [&](auto& into, int64_t i) {
    int64_t at[1] = {0};
    if (!r.even) r.reduced.place(uint32_t(i), at);
    reducer.take(into, x.at(base + (r.even ? i * r.step : at[0])), i);
  };
  const int members = share.members;
  int64_t i = share.begin + share.member;
  for (; i + members < share.end; i += 2 * members) {
    take(state, i);
    take(second, i + members);
  }
  if (i < share.end) take(state, i);
  return reducer.merge(state, second);
}

/// What a thread's part of a share comes to.
template <class R, class E>
__device__ __forceinline__ typename R::State partOf(const R& reducer, const E& x, const Reducing& r, const Share& share,
                                                    int64_t base) {
  if constexpr (E::kPacked) {
    const auto runs = [&]<bool Packed>(std::bool_constant<Packed>) {
      return partOf<kRunsAtOnce>(
          reducer, share, [&](int64_t i, int n, auto&& take) { x.template together<Packed>(base + i, n, take); });
    };
    if (r.rows()) return x.packs(base + share.begin) ? runs(std::true_type{}) : runs(std::false_type{});
  }
  return scatteredPart(reducer, x, r, share, base);
}

/// A result, or a piece of one, for each group of threads. One block is asked for: else the compiler saves registers
/// until some are spilt.
template <class R, class E, bool Block>
__global__ void __launch_bounds__(kReduceThreads, 1)
    reduceRows(R reducer, E x, Reducing r, Shares s, Target out, typename R::State* states) {
  const Share share(s);
  int64_t base[2];
  r.kept.place(uint32_t(share.result), base);
  const auto state = mergeGroup<Block>(reducer, partOf(reducer, x, r, share, base[0]), share.members);
  if (share.first) deliver(reducer, state, base[1], share.part, s.pieces, out, states);
}

/// 32 neighbouring results for each block; its rows of threads share the elements.
template <class R, class E>
__global__ void __launch_bounds__(kReduceThreads, E::kPacked ? 4 : 2)
    reduceColumns(R reducer, E x, Reducing r, Shares s, Target out, typename R::State* states) {
  __shared__ typename R::State shared[kColumnRows][kWarp];
  const int64_t result = int64_t(blockIdx.x) * kWarp + threadIdx.x, part = blockIdx.y;
  int64_t base[2] = {0, 0};
  auto state = reducer.none();
  if (result < r.results) {
    r.kept.place(uint32_t(result), base);
    const int64_t begin = part * s.piece, end = std::min(r.count, begin + s.piece);
    const auto takeAll = [&](auto&& placeOf) {
#pragma unroll E::kAtOnce
      for (int64_t i = begin + threadIdx.y; i < end; i += kColumnRows)
        reducer.take(state, x.at(base[0] + placeOf(i)), i);
    };
    if (r.even) takeAll([&](int64_t i) { return i * r.step; });
    else
      takeAll([&](int64_t i) {
        int64_t at[1] = {0};
        r.reduced.place(uint32_t(i), at);
        return at[0];
      });
  }
  shared[threadIdx.y][threadIdx.x] = state;
  __syncthreads();
  if (threadIdx.y != 0 || result >= r.results) return;
  for (int y = 1; y < kColumnRows; ++y) state = reducer.merge(state, shared[y][threadIdx.x]);
  deliver(reducer, state, base[1], part, s.pieces, out, states);
}

/// Merges the pieces of each result: a warp for each.
template <class R>
__global__ void __launch_bounds__(kReduceThreads)
    mergePiecesKernel(R reducer, const typename R::State* states, int64_t results, int64_t pieces, Target out) {
  const int64_t result = threadNumber() / kWarp;
  if (result >= results) return;
  auto state = reducer.none();
  for (int64_t i = threadIdx.x % kWarp; i < pieces; i += kWarp)
    state = reducer.merge(state, states[result * pieces + i]);
  state = mergeWarp(state, Merge<R>{reducer});
  if (threadIdx.x % kWarp == 0) storeAs(out.memory, out.dtype, result, reducer.result(state));
}

template <class R>
void mergePieces(const R& reducer, const typename R::State* states, const Shares& s, const View& out) {
  launch(mergePiecesKernel<R>, blocksFor(s.results * kWarp, kReduceThreads), kReduceThreads, 0, stream(), reducer,
         states, s.results, s.pieces, Target{out.memory, out.dtype});
}

template <class R, class E>
void reduceElements(const R& reducer, const E& x, const Reducing& r, const View& out) {
  if (r.results == 0) return;
  const Shares s = sharesOf(r);
  const Target target{out.memory, out.dtype};
  const Scratch memory(s.pieces > 1 ? size_t(s.results * s.pieces) * sizeof(typename R::State) : 1);
  auto* states = memory.as<typename R::State>();
  if (r.columns)
    launch(reduceColumns<R, E>, dim3(blocksFor(r.results, kWarp), unsigned(s.pieces)), dim3(kWarp, kColumnRows), 0,
           stream(), reducer, x, r, s, target, states);
  else
    launch(s.block() ? reduceRows<R, E, true> : reduceRows<R, E, false>, s.blocks(), kReduceThreads, 0, stream(),
           reducer, x, r, s, target, states);
  if (s.pieces > 1) mergePieces(reducer, states, s, out);
}

/// out = `x` reduced over `axes` by Reducer<T>, which is made by `make(TypeTag<T>)` for the type that elements are
/// reduced in.
template <class F>
void reduce(const View& x, const Ints& axes, const View& out, bool ordered, F&& make) {
  const Reducing r = reducingOf(x, axes, ordered);
  switch (x.dtype) {
    case DType::Float32: return reduceElements(make(TypeTag<float>{}), Elements<float>{x.as<float>()}, r, out);
    case DType::Float64: return reduceElements(make(TypeTag<double>{}), Elements<double>{x.as<double>()}, r, out);
    case DType::Float16: return reduceElements(make(TypeTag<float>{}), Elements<Half>{x.as<Half>()}, r, out);
    case DType::BFloat16: return reduceElements(make(TypeTag<float>{}), Elements<BFloat16>{x.as<BFloat16>()}, r, out);
    default: return reduceElements(make(TypeTag<int64_t>{}), Elements<void>{x.memory, x.dtype}, r, out);
  }
}

}  // namespace anneal::cuda
