#pragma once
// Reductions over any axes of a tensor of any strides. A reducer has a State, which is what a run of elements comes to:
//   State none() const, void take(State&, Value, int64_t place) const, State merge(State, State) const, and
//   result(State), which is stored. Everything is merged in an order that depends on shapes alone.
#include <algorithm>
#include <vector>

#include "device.h"
#include "index.h"
#include "value.h"
#include "warp.h"

namespace anneal::cuda {

constexpr int kReduceThreads = 256;
constexpr int kColumnRows = kReduceThreads / kWarp;

/// What elements of type S are reduced in: floats in float, double in double, integers and bool in int64.
template <class S>
using Accumulated =
    std::conditional_t<std::is_same_v<S, double>, double, std::conditional_t<std::is_integral_v<S>, int64_t, float>>;

/// How the elements of a tensor fall together: `kept` leads to the first of a result's elements and to the result;
/// `reduced` from there to the others.
struct Reducing {
  Walk<2, int64_t> kept;
  Walk<1, int64_t> reduced;
  int64_t results = 1, count = 1;  // elements in each result
  int64_t step = 0;                // of the reduced elements, where they are at equal distances
  bool even = false;               // whether they are
  bool columns = false;            // neighbouring results lie closer in memory than the elements of one
};

/// The plan of a reduction of `x` over `axes` (sorted, from 0), the results contiguous in the order of the other axes.
/// With `ordered` the elements of a result are counted in the order of their indices.
Reducing reducingOf(const View& x, const Ints& axes, bool ordered);

/// Elements in memory of type S, or of any dtype where S is void, as the type they are reduced in.
template <class S>
struct Elements {
  using Value = Accumulated<S>;
  const S* memory;
  __device__ Value at(int64_t i) const { return cpu::convertTo<Value>(memory[i]); }
};
template <>
struct Elements<void> {
  using Value = int64_t;
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

template <class R>
struct Merge {
  R reducer;
  __device__ typename R::State operator()(typename R::State a, typename R::State b) const {
    return reducer.merge(a, b);
  }
};

/// A result, or a piece of one, for each group of `Threads` threads: a warp or a block.
template <class R, class E, bool Block>
__global__ void __launch_bounds__(kReduceThreads)
    reduceRows(R reducer, E x, Reducing r, int64_t piece, int64_t pieces, Target out, typename R::State* states) {
  constexpr int kGroup = Block ? kReduceThreads : kWarp;
  const int64_t group = threadNumber() / kGroup;
  if (group >= r.results * pieces) return;
  const int64_t result = group / pieces, part = group % pieces;
  int64_t base[2];
  r.kept.place(uint32_t(result), base);
  const int64_t begin = part * piece, end = std::min(r.count, begin + piece);
  auto state = reducer.none();
  // Each thread has every kGroup-th element, in two chains, so that loads overlap.
  auto second = reducer.none();
  const auto take = [&](auto& into, int64_t i) {
    int64_t at[1] = {0};
    if (!r.even) r.reduced.place(uint32_t(i), at);
    reducer.take(into, x.at(base[0] + (r.even ? i * r.step : at[0])), i);
  };
  int64_t i = begin + threadIdx.x % kGroup;
  for (; i + kGroup < end; i += 2 * kGroup) {
    take(state, i);
    take(second, i + kGroup);
  }
  if (i < end) take(state, i);
  state = reducer.merge(state, second);
  if constexpr (Block) {
    __shared__ typename R::State shared[kWarp];
    state = mergeBlock(state, shared, Merge<R>{reducer});
  } else {
    state = mergeWarp(state, Merge<R>{reducer});
  }
  if (threadIdx.x % kGroup == 0) deliver(reducer, state, base[1], part, pieces, out, states);
}

/// 32 neighbouring results for each block; its rows of threads share the elements.
template <class R, class E>
__global__ void __launch_bounds__(kReduceThreads)
    reduceColumns(R reducer, E x, Reducing r, int64_t piece, int64_t pieces, Target out, typename R::State* states) {
  __shared__ typename R::State shared[kColumnRows][kWarp];
  const int64_t result = int64_t(blockIdx.x) * kWarp + threadIdx.x, part = blockIdx.y;
  int64_t base[2] = {0, 0};
  auto state = reducer.none();
  if (result < r.results) {
    r.kept.place(uint32_t(result), base);
    const int64_t begin = part * piece, end = std::min(r.count, begin + piece);
#pragma unroll 4
    for (int64_t i = begin + threadIdx.y; i < end; i += kColumnRows) {
      int64_t at[1] = {0};
      if (!r.even) r.reduced.place(uint32_t(i), at);
      reducer.take(state, x.at(base[0] + (r.even ? i * r.step : at[0])), i);
    }
  }
  shared[threadIdx.y][threadIdx.x] = state;
  __syncthreads();
  if (threadIdx.y != 0 || result >= r.results) return;
  for (int y = 1; y < kColumnRows; ++y) state = reducer.merge(state, shared[y][threadIdx.x]);
  deliver(reducer, state, base[1], part, pieces, out, states);
}

/// Merges the pieces of each result: a warp for each.
template <class R>
__global__ void __launch_bounds__(kReduceThreads)
    mergePieces(R reducer, const typename R::State* states, int64_t results, int64_t pieces, Target out) {
  const int64_t result = threadNumber() / kWarp;
  if (result >= results) return;
  auto state = reducer.none();
  for (int64_t i = threadIdx.x % kWarp; i < pieces; i += kWarp)
    state = reducer.merge(state, states[result * pieces + i]);
  state = mergeWarp(state, Merge<R>{reducer});
  if (threadIdx.x % kWarp == 0) storeAs(out.memory, out.dtype, result, reducer.result(state));
}

/// Into how many pieces a result's elements are cut, so that there is work for the whole GPU.
int64_t piecesOf(const Reducing& r, bool blocks);

template <class R, class E>
void reduceElements(const R& reducer, const E& x, const Reducing& r, const View& out) {
  if (r.results == 0) return;
  const bool block = !r.columns && r.count > 512;
  const int64_t pieces = std::max<int64_t>(1, piecesOf(r, block)), piece = (r.count + pieces - 1) / pieces;
  const Target target{out.memory, out.dtype};
  const Scratch memory(pieces > 1 ? size_t(r.results * pieces) * sizeof(typename R::State) : 1);
  auto* states = memory.as<typename R::State>();
  if (r.columns) {
    launch(reduceColumns<R, E>, dim3(blocksFor(r.results, kWarp), unsigned(pieces)), dim3(kWarp, kColumnRows), 0,
           stream(), reducer, x, r, piece, pieces, target, states);
  } else if (block) {
    launch(reduceRows<R, E, true>, unsigned(r.results * pieces), kReduceThreads, 0, stream(), reducer, x, r, piece,
           pieces, target, states);
  } else {
    launch(reduceRows<R, E, false>, blocksFor(r.results * kWarp, kReduceThreads), kReduceThreads, 0, stream(), reducer,
           x, r, piece, pieces, target, states);
  }
  if (pieces > 1)
    launch(mergePieces<R>, blocksFor(r.results * kWarp, kReduceThreads), kReduceThreads, 0, stream(), reducer, states,
           r.results, pieces, target);
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
