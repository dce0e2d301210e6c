#pragma once
// What kernels for fused operations are made of: they are written by generate.cu and compiled at run time.
#include "cpu/convert.h"
#include "elements.h"
#include "functor.cuh"
#include "words.cuh"

namespace anneal::cuda {

/// Where operands lie. An input without memory is one value, whose bytes came with the call.
template <int N>
struct Sources {
  const void* memory[N];
  uint64_t value[N];
};
template <int N>
struct Targets {
  void* memory[N];
};
template <int N>
struct Numbers {
  double v[N];
};

/// A loop nest over the elements, the innermost axis first, and the steps that N inputs take along its axes.
template <int Rank, int N>
struct Axes {
  Divider size[Rank];
  int32_t stride[Rank][N];
  __device__ __forceinline__ void place(uint32_t index, int32_t (&at)[N]) const {
#pragma unroll
    for (int k = 0; k < N; ++k) at[k] = 0;
#pragma unroll
    for (int i = 0; i < Rank; ++i) {
      const uint32_t outer = i + 1 < Rank ? size[i].quotient(index) : 0;
      const auto inner = int32_t(index - outer * size[i].divisor);
#pragma unroll
      for (int k = 0; k < N; ++k) at[k] += inner * stride[i][k];
      index = outer;
    }
  }
};

/// The value of an input that is one for all elements.
template <class S>
__device__ __forceinline__ S single(const void* memory, uint64_t value) {
  if (memory) return *static_cast<const S*>(memory);
  S out;
  memcpy(&out, &value, sizeof out);
  return out;
}

template <class S>
__device__ __forceinline__ S element(const void* memory, int64_t at) {
  return static_cast<const S*>(memory)[at];
}

/// N elements from `at` on, in one access.
template <class S, int N>
__device__ __forceinline__ Pack<S, N> loadPack(const void* memory, int64_t at) {
  return *reinterpret_cast<const Pack<S, N>*>(static_cast<const S*>(memory) + at);
}

/// The first `count` of N elements from `at` on.
template <class S, int N>
__device__ __forceinline__ Pack<S, N> loadSome(const void* memory, int64_t at, int count) {
  Pack<S, N> out{};
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (i < count) out.v[i] = element<S>(memory, at + i);
  return out;
}

/// Stores the first `count` of N elements; with `whole` all of them, in one access.
template <class S, int N>
__device__ __forceinline__ void store(void* memory, int64_t at, int count, bool whole, const Pack<S, N>& values) {
  S* to = static_cast<S*>(memory) + at;
  if (whole) {
    *reinterpret_cast<Pack<S, N>*>(to) = values;
    return;
  }
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (i < count) to[i] = values.v[i];
}

/// f(x...) computed in T, as the R that the operation stores: what is kept in registers is rounded as what goes through
/// memory.
template <class R, class T, class F, class... S>
__device__ __forceinline__ R compute(const F& f, S... x) {
  const T values[] = {cpu::convertTo<T>(x)...};
  return cpu::convertTo<R>(apply<F, T>(f, values));
}

}  // namespace anneal::cuda

// In the emulator a kernel is called through a function of a known type.
#if defined(ANNEAL_CUDA_EMULATE)
namespace anneal::cuda {
template <class... P>
void callKernel(void (*kernel)(P...), void** arguments) {
  [&]<size_t... I>(std::index_sequence<I...>) { kernel(*static_cast<std::remove_reference_t<P>*>(arguments[I])...); }
  (std::index_sequence_for<P...>{});
}
}  // namespace anneal::cuda
#define ANNEAL_KERNEL(name) \
  extern "C" void name##Call(void** arguments) { anneal::cuda::callKernel(name, arguments); }
#else
#define ANNEAL_KERNEL(name)
#endif
