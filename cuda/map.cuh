#pragma once
// Elementwise kernels from the functors that the CPU uses (native/cpu/functors_*.h).
#include "device.h"
#include "functor.cuh"
#include "index.h"
#include "map.h"
#include "op/infer.h"
#include "value.h"

namespace anneal::cuda {

constexpr int kThreads = 256;

struct Params {
  double v[8];
};

template <class F, class T, int Arity>
struct ResultOf {
  using type = std::conditional_t<
      Arity == 1, std::invoke_result<F, T>,
      std::conditional_t<Arity == 2, std::invoke_result<F, T, T>, std::invoke_result<F, T, T, T>>>::type;
};

/// Where an input lies; without memory it is one value that came with the call.
template <class T, int Arity>
struct Sources {
  const void* memory[Arity];
  T value[Arity];
  DType dtype[Arity];
  bool fixed[Arity];  // one value for all elements
};

template <class T, int Arity>
Sources<T, Arity> sourcesOf(std::span<const View> in) {
  Sources<T, Arity> s{};
  for (int i = 0; i < Arity; ++i) {
    const View& v = in[size_t(i)];
    s.memory[i] = v.memory;
    s.dtype[i] = v.dtype;
    s.fixed[i] = v.size() == 1;
    if (!v.memory) s.value[i] = scalarAs<T>(v);
  }
  return s;
}

/// Blocks that a multiprocessor is to hold at least: functions of doubles take more registers than the compiler allows
/// of itself, and then some are spilt.
template <class T>
constexpr int kLeastBlocks = std::is_same_v<T, double> ? 2 : 0;

/// Inputs and output are runs of elements stored as S (the output as bool where F gives one), or one value.
template <class F, class T, class S, int Arity, int N>
__global__ void __launch_bounds__(kThreads, kLeastBlocks<T>)
    mapRuns(Params params, Sources<T, Arity> in, void* out, int64_t n) {
  using R = typename ResultOf<F, T, Arity>::type;
  using O = std::conditional_t<std::is_same_v<R, bool>, bool, S>;
  const F f = make<F>(params.v);
  const int64_t begin = threadNumber() * N;
  if (begin >= n) return;
  T fixed[Arity];
  for (int k = 0; k < Arity; ++k)
    fixed[k] =
        !in.memory[k] ? in.value[k] : (in.fixed[k] ? cpu::convertTo<T>(*static_cast<const S*>(in.memory[k])) : T());
  if (begin + N <= n) {
    Pack<S, N> from[Arity];
#pragma unroll
    for (int k = 0; k < Arity; ++k)
      if (!in.fixed[k]) from[k] = *reinterpret_cast<const Pack<S, N>*>(static_cast<const S*>(in.memory[k]) + begin);
    Pack<O, N> to;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      T x[Arity];
#pragma unroll
      for (int k = 0; k < Arity; ++k) x[k] = in.fixed[k] ? fixed[k] : cpu::convertTo<T>(from[k].v[i]);
      to.v[i] = cpu::convertTo<O>(apply<F, T, Arity>(f, x));
    }
    *reinterpret_cast<Pack<O, N>*>(static_cast<O*>(out) + begin) = to;
    return;
  }
  for (int64_t i = begin; i < n; ++i) {
    T x[Arity];
    for (int k = 0; k < Arity; ++k)
      x[k] = in.fixed[k] ? fixed[k] : cpu::convertTo<T>(static_cast<const S*>(in.memory[k])[i]);
    static_cast<O*>(out)[i] = cpu::convertTo<O>(apply<F, T, Arity>(f, x));
  }
}

/// Any strides and dtypes.
template <class F, class T, int Arity>
__global__ void __launch_bounds__(kThreads, kLeastBlocks<T>)
    mapAny(Params params, Sources<T, Arity> in, Walk<Arity + 1> walk, void* out, DType outType, uint32_t n) {
  const F f = make<F>(params.v);
  const auto i = uint32_t(threadNumber());
  if (i >= n) return;
  int32_t at[Arity + 1];
  walk.place(i, at);
  T x[Arity];
#pragma unroll
  for (int k = 0; k < Arity; ++k) x[k] = in.memory[k] ? loadAs<T>(in.memory[k], in.dtype[k], at[k]) : in.value[k];
  storeAs(out, outType, at[Arity], apply<F, T, Arity>(f, x));
}

/// Whether the inputs are runs of elements of one dtype, like the output's, or single values, that mapRuns can read.
inline bool runs(DType stored, DType result, std::span<const View> in, const View& out) {
  if (out.dtype != result || !out.contiguous() || !aligned(out.memory)) return false;
  return std::all_of(in.begin(), in.end(), [&](const View& v) {
    if (!v.memory) return true;
    if (v.dtype != stored) return false;
    return v.size() == 1 || (v.shape == out.shape && v.contiguous() && aligned(v.memory));
  });
}

template <class F, class T, class S, int Arity>
void launchRuns(const Params& params, std::span<const View> in, const View& out) {
  constexpr int N = 16 / sizeof(S);
  const int64_t n = out.size();
  launch(mapRuns<F, T, S, Arity, N>, blocksFor(n, int64_t(kThreads) * N), kThreads, 0, stream(), params,
         sourcesOf<T, Arity>(in), out.memory, n);
}

template <class F, class T, int Arity>
void launchAny(const Params& params, std::span<const View> in, const View& out) {
  split(Nest(in, out), {}, [&](const Nest& nest, const auto& offsets) {
    Sources<T, Arity> sources = sourcesOf<T, Arity>(in);
    for (int k = 0; k < Arity; ++k)
      if (sources.memory[k])
        sources.memory[k] = static_cast<const std::byte*>(sources.memory[k]) +
                            offsets[size_t(k)] * int64_t(itemSize(in[size_t(k)].dtype));
    std::byte* to = out.memory + offsets[size_t(Arity)] * int64_t(itemSize(out.dtype));
    const int64_t n = nest.shape.product();
    launch(mapAny<F, T, Arity>, blocksFor(n, kThreads), kThreads, 0, stream(), params, sources, Walk<Arity + 1>(nest),
           to, out.dtype, uint32_t(n));
  });
}

template <class F, class T, int Arity>
void mapIn(const Params& params, std::span<const View> in, const View& out) {
  constexpr bool test = std::is_same_v<typename ResultOf<F, T, Arity>::type, bool>;
  const auto stored = std::find_if(in.begin(), in.end(), [](const View& v) { return v.memory != nullptr; });
  const DType from = stored == in.end() ? out.dtype : stored->dtype;
  if (runs(from, test ? DType::Bool : from, in, out)) {
    if constexpr (std::is_same_v<T, float>) {
      if (from == DType::Float32) return launchRuns<F, T, float, Arity>(params, in, out);
      if (from == DType::Float16) return launchRuns<F, T, Half, Arity>(params, in, out);
      if (from == DType::BFloat16) return launchRuns<F, T, BFloat16, Arity>(params, in, out);
    } else if (from == (std::is_same_v<T, double> ? DType::Float64 : (sizeof(T) == 4 ? DType::Int32 : DType::Int64))) {
      return launchRuns<F, T, T, Arity>(params, in, out);
    }
  }
  launchAny<F, T, Arity>(params, in, out);
}

/// The Map of functor F.
template <class F, int Arity>
void map(const double* numbers, DType compute, std::span<const View> in, const View& out) {
  if (out.size() == 0) return;
  Params params{};
  std::copy_n(numbers, 8, params.v);
  if constexpr (!requires { F::integers; }) {
    if (compute == DType::Float32) return mapIn<F, float, Arity>(params, in, out);
    if (compute == DType::Float64) return mapIn<F, double, Arity>(params, in, out);
  }
  if constexpr (!requires { F::floats; }) {
    if (compute == DType::Int64) return mapIn<F, int64_t, Arity>(params, in, out);
    if (compute == DType::Int32) return mapIn<F, int32_t, Arity>(params, in, out);
  }
  fail(Code::Internal, "no kernel for ", compute);
}

/// Puts the maps of functors number `Part`, `Part + Parts`, ... of a list into `table`.
template <int Arity, int Part, int Parts, class... F>
void addMaps(scalar::List<F...>, Map* table) {
  int i = 0;
  const auto add = [&]<class G, int Index>(TypeTag<G>, std::integral_constant<int, Index>) {
    if constexpr (Index % Parts == Part) table[i] = map<G, Arity>;
    ++i;
  };
  [&]<size_t... I>(std::index_sequence<I...>) { (add(TypeTag<F>{}, std::integral_constant<int, int(I)>{}), ...); }
  (std::index_sequence_for<F...>{});
}

}  // namespace anneal::cuda
