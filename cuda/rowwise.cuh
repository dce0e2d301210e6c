#pragma once
// What works on rows of a matrix, each of a warp or of a block. A row of whole 16-byte packs stays in the threads'
// registers; others are looped over, as often as an operation needs them. Also for kernels that are compiled at run
// time: nothing of the host.
#include "cpu/convert.h"
#include "elements.h"
#include "warp.h"

namespace anneal::cuda {

/// What stored floats of type T are computed in.
template <class T>
using Computed = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// Elements of one 16-byte access.
template <class T>
inline constexpr int kPack = 16 / int(sizeof(T));

constexpr int kRowThreads = 512;  // for a row, at most
constexpr int kWarpRows = 8;      // of a block, where a warp has a row: always if its threads hold one pack each

/// Stores a pack at once; `to` is aligned for it. Packs that are assigned are sometimes taken apart by the compiler and
/// stay so: then each element is a store of its own.
template <class T, int N>
__device__ __forceinline__ void storePack(T* to, const Pack<T, N>& pack) {
#if defined(__CUDA_ARCH__) && !defined(__CUDACC_RTC__)
  using Bits = std::conditional_t<sizeof pack == 16, uint4, uint2>;
  if constexpr (sizeof(Bits) == sizeof pack) {
    Bits bits;
    memcpy(&bits, &pack, sizeof bits);
    __stwb(reinterpret_cast<Bits*>(to), bits);
    return;
  }
#endif
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Largest {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

/// Two sums at once.
template <class T>
struct Two {
  T first, second;
  __device__ Two operator+(const Two& o) const { return {first + o.first, second + o.second}; }
};

/// The row of a thread's group.
__device__ __forceinline__ int64_t rowNumber() { return int64_t(blockIdx.x) * blockDim.y + threadIdx.y; }

/// Lets the threads of a row see what each of them has stored of it.
__device__ __forceinline__ void syncRow() {
  if (blockDim.x == kWarp) __syncwarp();
  else __syncthreads();
}

/// A row in registers, P packs in each thread.
template <class T, int P>
struct Held {
  Pack<T, kPack<T>> packs[P];

  static __device__ __forceinline__ int place(int p) { return (p * int(blockDim.x) + int(threadIdx.x)) * kPack<T>; }
  /// place(p), or that of the last pack of a row of n: with a branch around each, loads would wait for one another.
  static __device__ __forceinline__ int inside(int p, int n) {
    const int last = n - kPack<T>;
    return place(p) < last ? place(p) : last;
  }
  __device__ __forceinline__ void load(const T* row, int n) {
#pragma unroll
    for (int p = 0; p < P; ++p) packs[p] = *reinterpret_cast<const Pack<T, kPack<T>>*>(row + inside(p, n));
  }
  __device__ __forceinline__ Computed<T> at(int p, int i) const { return cpu::convertTo<Computed<T>>(packs[p].v[i]); }
};

/// Calls f(p, i, place) for the elements of a row of n that a thread holds.
template <class T, int P, class F>
__device__ __forceinline__ void eachHeld(int n, F&& f) {
#pragma unroll
  for (int p = 0; p < P; ++p) {
    const int place = Held<T, P>::place(p);
    if (place >= n) continue;
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) f(p, i, place + i);
  }
}

/// Calls take(p, place, pack) with packs of f(p, i, place), the elements of a row of n that a thread holds.
template <class T, int P, class F, class G>
__device__ __forceinline__ void eachPack(int n, F&& f, G&& take) {
#pragma unroll
  for (int p = 0; p < P; ++p) {
    const int place = Held<T, P>::place(p);
    if (place >= n) continue;
    Pack<T, kPack<T>> pack;
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) pack.v[i] = cpu::convertTo<T>(f(p, i, place + i));
    take(p, place, pack);
  }
}

/// Stores f(p, i, place) as the elements of a row.
template <class T, int P, class F>
__device__ __forceinline__ void storeHeld(T* row, int n, F&& f) {
  eachPack<T, P>(n, f, [&](int, int place, const Pack<T, kPack<T>>& pack) { storePack(row + place, pack); });
}

template <int N>
struct Run {
  static constexpr int size = N;
};

/// Packs of a row that are under way at once where it is looped over: wide types need the registers.
template <class T>
inline constexpr int kPacksAtOnce = sizeof(T) == 8 ? 1 : 2;

/// Calls f(Run<N>, place) for runs of neighbours in a row: packs where `row` is aligned for them, single elements
/// before and after.
template <class T, int AtOnce = kPacksAtOnce<T>, class F>
__device__ __forceinline__ void eachRun(const T* row, int64_t n, F&& f) {
  constexpr int N = kPack<T>;
  const int64_t lead = (N - int64_t(reinterpret_cast<uintptr_t>(row) / sizeof(T)) % N) % N, head = lead < n ? lead : n,
                packs = (n - head) / N, tail = head + packs * N + threadIdx.x;
  if (int64_t(threadIdx.x) < head) f(Run<1>{}, int64_t(threadIdx.x));
#pragma unroll AtOnce
  for (int64_t i = threadIdx.x; i < packs; i += blockDim.x) f(Run<N>{}, head + i * N);
  if (tail < n) f(Run<1>{}, tail);
}

/// The same with what is in the row there: f(Run<N>, place, values), as what it is computed in. Packs are loaded without
/// asking how they lie, `AtOnce` of them before the first is used: else loads would wait for one another.
template <class T, int AtOnce = kPacksAtOnce<T>, class F>
__device__ __forceinline__ void eachLoaded(const T* row, int64_t n, F&& f) {
  constexpr int N = kPack<T>;
  using Values = Pack<T, N>;
  const int64_t lead = (N - int64_t(reinterpret_cast<uintptr_t>(row) / sizeof(T)) % N) % N, head = lead < n ? lead : n,
                packs = (n - head) / N, tail = head + packs * N + threadIdx.x, step = blockDim.x;
  const auto one = [&](int64_t at) {
    Computed<T> values[1] = {cpu::convertTo<Computed<T>>(row[at])};
    f(Run<1>{}, at, values);
  };
  const auto use = [&](int64_t i, const Values& pack) {
    Computed<T> values[N];
#pragma unroll
    for (int k = 0; k < N; ++k) values[k] = cpu::convertTo<Computed<T>>(pack.v[k]);
    f(Run<N>{}, head + i * N, values);
  };
  const auto* from = reinterpret_cast<const Values*>(row + head);
  if (int64_t(threadIdx.x) < head) one(threadIdx.x);
  int64_t i = threadIdx.x;
#pragma unroll 1
  for (; i + (AtOnce - 1) * step < packs; i += AtOnce * step) {
    Values loaded[AtOnce];
#pragma unroll
    for (int k = 0; k < AtOnce; ++k) loaded[k] = from[i + k * step];
    asm volatile("" ::: "memory");  // the compiler would put off loads to where they are used
#pragma unroll
    for (int k = 0; k < AtOnce; ++k) use(i + k * step, loaded[k]);
  }
  if constexpr (AtOnce > 1) {
#pragma unroll 1
    for (; i < packs; i += step) use(i, from[i]);
  }
  if (tail < n) one(tail);
}

/// N neighbours as what they are computed in.
template <int N, class T>
__device__ __forceinline__ void loadRun(const T* from, Computed<T> (&to)[N]) {
  if (N == kPack<T> && reinterpret_cast<uintptr_t>(from) % 16 == 0) {
    const auto pack = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = cpu::convertTo<Computed<T>>(pack.v[i]);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = cpu::convertTo<Computed<T>>(from[i]);
  }
}

template <int N, class T>
__device__ __forceinline__ void storeRun(T* to, const Computed<T> (&from)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack.v[i] = cpu::convertTo<T>(from[i]);
  if (N == kPack<T> && reinterpret_cast<uintptr_t>(to) % 16 == 0) {
    storePack(to, pack);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = pack.v[i];
  }
}

/// Numbers for each column, of any float dtype; none where there is no memory.
struct Parameter {
  const void* memory = nullptr;
  DType dtype = DType::Float32;

  Parameter() = default;
  ANNEAL_HD Parameter(const void* memory, DType dtype) : memory(memory), dtype(dtype) {}
  /// Of a View.
  template <class V>
  requires requires(const V& v) { v.defined; }
  explicit Parameter(const V& v) : memory(v.defined ? v.memory : nullptr), dtype(v.dtype) {}
  __device__ explicit operator bool() const { return memory != nullptr; }

  template <class S, int N, class C>
  __device__ __forceinline__ void loadFrom(int64_t at, C (&to)[N]) const {
    constexpr int M = N < kPack<S> ? N : kPack<S>;
    const S* from = static_cast<const S*>(memory) + at;
    const bool packed = reinterpret_cast<uintptr_t>(from) % (M * sizeof(S)) == 0;
#pragma unroll
    for (int i = 0; i < N; i += M) {
      Pack<S, M> pack;
      if (packed) {
        pack = *reinterpret_cast<const Pack<S, M>*>(from + i);
      } else {
#pragma unroll
        for (int k = 0; k < M; ++k) pack.v[k] = from[i + k];
      }
#pragma unroll
      for (int k = 0; k < M; ++k) to[i + k] = cpu::convertTo<C>(pack.v[k]);
    }
  }
  /// N neighbours from `at`, or `absent`.
  template <int N, class C>
  __device__ __forceinline__ void load(int64_t at, C (&to)[N], C absent) const {
    if (!memory) {
#pragma unroll
      for (int i = 0; i < N; ++i) to[i] = absent;
      return;
    }
    switch (dtype) {
      case DType::Float32: return loadFrom<float>(at, to);
      case DType::Float16: return loadFrom<Half>(at, to);
      case DType::BFloat16: return loadFrom<BFloat16>(at, to);
      default: return loadFrom<double>(at, to);
    }
  }
};

}  // namespace anneal::cuda
