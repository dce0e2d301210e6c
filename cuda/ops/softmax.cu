// softmax, logSoftmax and their gradients, along any axis.
#include "ops/softmax.h"

#include <cmath>
#include <limits>

#include "copy.h"
#include "exponentials.cuh"
#include "op/infer.h"

namespace anneal::cuda {
namespace {

constexpr int kMost = 4;        // packs of a row in a thread
constexpr int kColumnRows = 8;  // threads that share a column

/// An element's result.
template <class T, bool Log>
struct Normalise {
  using C = Computed<T>;
  C top, by;
  __device__ Normalise(C top, C sum) : top(top), by(Log ? std::log(sum) : C(1) / sum) {}
  __device__ C operator()(C x) const { return Log ? (x - top) - by : exponential<T>(x - top) * by; }
};

/// An element's gradient, from the result `y`, its gradient and the sum that the elements share.
template <class T, bool Log>
struct Gradient {
  using C = Computed<T>;
  C sum;
  static __device__ C share(C y, C g) { return Log ? g : g * y; }
  __device__ C operator()(C y, C g) const { return Log ? g - exponential<T>(y) * sum : y * (g - sum); }
};

template <class T, int P, bool Log>
__global__ void __launch_bounds__(kRowThreads, kLeastBlocks<T, P>)
    softmaxRows(const T* x, T* y, int64_t rows, int64_t n) {
  using C = Computed<T>;
  const int64_t row = rowNumber();
  if (row >= rows) return;
  x += row * n;
  y += row * n;
  if constexpr (P > 0) {
    __shared__ C shared[kWarp];
    Held<T, P> in;
    in.load(x, int(n));
    C top = -std::numeric_limits<C>::infinity(), sum = 0;
    eachHeld<T, P>(int(n), [&](int p, int i, int) { top = Largest()(top, in.at(p, i)); });
    top = mergeBlock(top, shared, Largest());
    eachHeld<T, P>(int(n), [&](int p, int i, int) { sum += exponential<T>(in.at(p, i) - top); });
    const Normalise<T, Log> result(top, mergeBlock(sum, shared, Add()));
    storeHeld<T, P>(y, int(n), [&](int p, int i, int) { return result(in.at(p, i)); });
  } else {
    __shared__ Exponentials<C> shared[kWarp];
    auto state = Exponentials<C>::none();
    eachLoaded(x, n, [&]<int N>(Run<N>, int64_t, const C(&values)[N]) { take<T>(state, values); });
    state = mergeBlock(state, shared, MergeExponentials<T>());
    const Normalise<T, Log> result(state.top, state.sum);
    eachLoaded(x, n, [&]<int N>(Run<N>, int64_t at, C(&values)[N]) {
#pragma unroll
      for (C& v : values) v = result(v);
      storeRun<N>(y + at, values);
    });
  }
}

template <class T, int P, bool Log>
__global__ void __launch_bounds__(kRowThreads, kLeastBlocks<T, P>)
    softmaxGradRows(const T* y, const T* g, T* dx, int64_t rows, int64_t n) {
  using C = Computed<T>;
  __shared__ C shared[kWarp];
  const int64_t row = rowNumber();
  if (row >= rows) return;
  y += row * n;
  g += row * n;
  dx += row * n;
  C sum = 0;
  if constexpr (P > 0) {
    Held<T, P> from, grad;
    from.load(y, int(n));
    grad.load(g, int(n));
    eachHeld<T, P>(int(n), [&](int p, int i, int) { sum += Gradient<T, Log>::share(from.at(p, i), grad.at(p, i)); });
    const Gradient<T, Log> result{mergeBlock(sum, shared, Add())};
    storeHeld<T, P>(dx, int(n), [&](int p, int i, int) { return result(from.at(p, i), grad.at(p, i)); });
  } else {
    eachLoaded(y, n, [&]<int N>(Run<N>, int64_t at, const C(&a)[N]) {
      C b[N];
      loadRun<N>(g + at, b);
#pragma unroll
      for (int i = 0; i < N; ++i) sum += Gradient<T, Log>::share(a[i], b[i]);
    });
    const Gradient<T, Log> result{mergeBlock(sum, shared, Add())};
    eachLoaded(y, n, [&]<int N>(Run<N>, int64_t at, C(&a)[N]) {
      C b[N];
      loadRun<N>(g + at, b);
#pragma unroll
      for (int i = 0; i < N; ++i) a[i] = result(a[i], b[i]);
      storeRun<N>(dx + at, a);
    });
  }
}

/// `merge` over the threads of a column, in all of them.
template <class S, class M>
__device__ S mergeColumn(S state, S (&shared)[kColumnRows][kWarp], M merge) {
  shared[threadIdx.y][threadIdx.x] = state;
  __syncthreads();
  state = shared[0][threadIdx.x];
  for (int y = 1; y < kColumnRows; ++y) state = merge(state, shared[y][threadIdx.x]);
  return state;
}

/// Along an axis whose elements lie `inner` apart: 32 neighbouring columns for each block.
template <class T, bool Log>
__global__ void __launch_bounds__(kWarp* kColumnRows)
    softmaxColumns(const T* x, T* y, int64_t n, int64_t inner, int64_t tiles) {
  using C = Computed<T>;
  __shared__ Exponentials<C> shared[kColumnRows][kWarp];
  const int64_t column = blockIdx.x % tiles * kWarp + threadIdx.x, base = blockIdx.x / tiles * n * inner + column;
  auto state = Exponentials<C>::none();
  if (column < inner)
    for (int64_t i = threadIdx.y; i < n; i += kColumnRows) {
      const C value[1] = {cpu::convertTo<C>(x[base + i * inner])};
      take<T>(state, value);
    }
  state = mergeColumn(state, shared, MergeExponentials<T>());
  if (column >= inner) return;
  const Normalise<T, Log> result(state.top, state.sum);
  for (int64_t i = threadIdx.y; i < n; i += kColumnRows)
    y[base + i * inner] = cpu::convertTo<T>(result(cpu::convertTo<C>(x[base + i * inner])));
}

template <class T, bool Log>
__global__ void __launch_bounds__(kWarp* kColumnRows)
    softmaxGradColumns(const T* y, const T* g, T* dx, int64_t n, int64_t inner, int64_t tiles) {
  using C = Computed<T>;
  __shared__ C shared[kColumnRows][kWarp];
  const int64_t column = blockIdx.x % tiles * kWarp + threadIdx.x, base = blockIdx.x / tiles * n * inner + column;
  C sum = 0;
  if (column < inner)
    for (int64_t i = threadIdx.y; i < n; i += kColumnRows)
      sum += Gradient<T, Log>::share(cpu::convertTo<C>(y[base + i * inner]), cpu::convertTo<C>(g[base + i * inner]));
  const Gradient<T, Log> result{mergeColumn(sum, shared, Add())};
  if (column >= inner) return;
  for (int64_t i = threadIdx.y; i < n; i += kColumnRows)
    dx[base + i * inner] =
        cpu::convertTo<T>(result(cpu::convertTo<C>(y[base + i * inner]), cpu::convertTo<C>(g[base + i * inner])));
}

/// The axis, as the middle one of three.
struct Layout {
  int64_t outer = 1, n = 1, inner = 1, tiles = 1;
  Layout(const Shape& shape, int64_t given) {
    const int axis = resolveAxis("softmax", given, std::max(1, shape.rank()));
    for (int i = 0; i < shape.rank(); ++i) (i < axis ? outer : (i == axis ? n : inner)) *= shape[i];
    tiles = (inner + kWarp - 1) / kWarp;
  }
  unsigned blocks() const { return unsigned(outer * tiles); }
};

constexpr dim3 kColumnBlock(kWarp, kColumnRows);

template <bool Log>
void softmaxCuda(const Call<ops::Along>& call) {
  const View& y = call.out[0];
  if (y.size() == 0) return;
  const Prepared prepared(call.in[0], y.dtype);
  const View& x = prepared.view();
  const Layout l(x.shape, call.attrs.axis);
  visitFloat(x.dtype, [&]<class T>(TypeTag<T>) {
    const T* from = x.as<T>();
    T* to = y.as<T>();
    if (l.inner > 1)
      return launch(softmaxColumns<T, Log>, l.blocks(), kColumnBlock, 0, stream(), from, to, l.n, l.inner, l.tiles);
    const RowPlan plan = planRows<T>(l.n, kMost, {from, to});
    visitHeld<T, kMost>(plan, [&]<int P>(std::integral_constant<int, P>) {
      launch(softmaxRows<T, P, Log>, plan.blocksFor(l.outer), plan.block, 0, stream(), from, to, l.outer, l.n);
    });
  });
}

template <bool Log>
void softmaxGradCuda(const Call<ops::Along>& call) {
  const View& dx = call.out[0];
  if (dx.size() == 0) return;
  const Prepared result(call.in[0], dx.dtype), gradient(call.in[1], dx.dtype);
  const View &y = result.view(), &g = gradient.view();
  const Layout l(y.shape, call.attrs.axis);
  visitFloat(y.dtype, [&]<class T>(TypeTag<T>) {
    const T *from = y.as<T>(), *grad = g.as<T>();
    T* to = dx.as<T>();
    if (l.inner > 1)
      return launch(softmaxGradColumns<T, Log>, l.blocks(), kColumnBlock, 0, stream(), from, grad, to, l.n, l.inner,
                    l.tiles);
    const RowPlan plan = planRows<T>(l.n, kMost, {from, grad, to});
    visitHeld<T, kMost>(plan, [&]<int P>(std::integral_constant<int, P>) {
      launch(softmaxGradRows<T, P, Log>, plan.blocksFor(l.outer), plan.block, 0, stream(), from, grad, to, l.outer,
             l.n);
    });
  });
}

const Implement<ops::Along> softmaxOnCuda("softmax", DeviceType::Cuda, softmaxCuda<false>);
const Implement<ops::Along> logSoftmaxOnCuda("logSoftmax", DeviceType::Cuda, softmaxCuda<true>);
const Implement<ops::Along> softmaxGradOnCuda("softmaxGrad", DeviceType::Cuda, softmaxGradCuda<false>);
const Implement<ops::Along> logSoftmaxGradOnCuda("logSoftmaxGrad", DeviceType::Cuda, softmaxGradCuda<true>);

}  // namespace
}  // namespace anneal::cuda
