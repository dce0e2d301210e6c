#pragma once
// What kernels for layerNorm, rmsNorm and their gradients do with a row: those of ops/norm_rows.cu, and those that are
// compiled at run time, which compute rows just before, or go on with their gradients.
#include <cmath>

#include "rowwise.cuh"

namespace anneal::cuda {

constexpr int kNormPacks = 4, kNormGradientPacks = 2;  // of a row in a thread, at most

struct Rows {
  int64_t rows, size;
  double eps;
  bool centered;
};

template <class C>
struct Statistics {
  C mean, scale;
};

/// Mean and 1 / standard deviation of a row; for rows that are not centered, 0 and 1 / root mean square. The thread's
/// elements come from `each`.
template <class C, class F>
__device__ __forceinline__ Statistics<C> statisticsOf(const Rows& r, F&& each) {
  __shared__ C shared[kWarp];
  C mean = 0, squares = 0;
  if (r.centered) {
    each([&](C v) { mean += v; });
    mean = mergeBlock(mean, shared, Add()) / C(r.size);
  }
  each([&](C v) { squares += (v - mean) * (v - mean); });
  return {mean, C(1) / std::sqrt(mergeBlock(squares, shared, Add()) / C(r.size) + C(r.eps))};
}

/// The same of a row that the threads hold.
template <class T, int P>
__device__ __forceinline__ Statistics<Computed<T>> statisticsOf(const Rows& r, const Held<T, P>& row) {
  return statisticsOf<Computed<T>>(
      r, [&](auto&& f) { eachHeld<T, P>(int(r.size), [&](int p, int i, int) { f(row.at(p, i)); }); });
}

/// The same of a row in memory.
template <class T>
__device__ __forceinline__ Statistics<Computed<T>> statisticsOf(const Rows& r, const T* row) {
  return statisticsOf<Computed<T>>(r, [&](auto&& f) {
    eachLoaded(row, r.size, [&]<int N>(Run<N>, int64_t, const Computed<T>(&values)[N]) {
#pragma unroll
      for (const auto v : values) f(v);
    });
  });
}

/// Normalises a row that the threads hold: take(p, place, pack) gets it.
template <class T, int P, class F>
__device__ __forceinline__ void normalizeHeld(const Held<T, P>& row, const Parameter& weight, const Parameter& bias,
                                              const Rows& r, F&& take) {
  using C = Computed<T>;
  const auto s = statisticsOf(r, row);
  C w[kPack<T>], b[kPack<T>];
  eachPack<T, P>(
      int(r.size),
      [&](int p, int i, int place) {
        if (i == 0) weight.load(place, w, C(1)), bias.load(place, b, C(0));
        return (row.at(p, i) - s.mean) * s.scale * w[i] + b[i];
      },
      take);
}

/// Normalises a row of any size from `x` into `y`, which may be the same.
template <class T>
__device__ __forceinline__ void normalizeLooped(const T* x, const Parameter& weight, const Parameter& bias, T* y,
                                                const Rows& r) {
  using C = Computed<T>;
  const auto s = statisticsOf(r, x);
  eachLoaded(x, r.size, [&]<int N>(Run<N>, int64_t at, C(&values)[N]) {
    C w[N], b[N];
    weight.load(at, w, C(1));
    bias.load(at, b, C(0));
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = (values[i] - s.mean) * s.scale * w[i] + b[i];
    storeRun<N>(y + at, values);
  });
}

/// What an element's gradient needs of its row: the averages of weight * grad, and of that times the normalised x.
template <class C>
struct Averages {
  C plain, along;
};

template <class C>
__device__ __forceinline__ Averages<C> averagesOf(Two<C> sums, const Rows& r) {
  __shared__ Two<C> shared[kWarp];
  sums = mergeBlock(sums, shared, Add());
  return {r.centered ? sums.first / C(r.size) : C(0), sums.second / C(r.size)};
}

/// The gradients of rows of x that threads hold: take(row, p, place, pack) gets them, come(row, held) brings those
/// that come back. Each group of threads has every gridDim-th row, and keeps the sums for weight and bias of its rows
/// in registers: `toWeight` and `toBias` [groups, size].
template <class T, int P, class G, class F>
__device__ __forceinline__ void gradientOfHeld(const T* x, const Parameter& weight, const Rows& r,
                                               Computed<T>* toWeight, Computed<T>* toBias, G&& come, F&& take) {
  using C = Computed<T>;
  constexpr int N = kPack<T>;
  const auto n = int(r.size);
  C w[P][N], dw[P][N] = {}, db[P][N] = {};
#pragma unroll
  for (int p = 0; p < P; ++p)
    if (Held<T, P>::place(p) < n) weight.load(Held<T, P>::place(p), w[p], C(1));
  for (int64_t row = rowNumber(); row < r.rows; row += int64_t(gridDim.x) * blockDim.y) {
    Held<T, P> in, grad;
    in.load(x + row * n, n);
    come(row, grad);
    const auto s = statisticsOf(r, in);
    Two<C> sums{0, 0};
    eachHeld<T, P>(n, [&](int p, int i, int) {
      const C normal = (in.at(p, i) - s.mean) * s.scale, weighted = grad.at(p, i) * w[p][i];
      sums = sums + Two<C>{weighted, weighted * normal};
      dw[p][i] += grad.at(p, i) * normal;
      db[p][i] += grad.at(p, i);
    });
    const auto a = averagesOf(sums, r);
    eachPack<T, P>(
        n,
        [&](int p, int i, int) {
          const C normal = (in.at(p, i) - s.mean) * s.scale;
          return s.scale * (grad.at(p, i) * w[p][i] - a.plain - normal * a.along);
        },
        [&](int p, int place, const Pack<T, N>& pack) { take(row, p, place, pack); });
  }
  const int64_t group = rowNumber() * n;
#pragma unroll
  for (int p = 0; p < P; ++p) {
    if (Held<T, P>::place(p) >= n) continue;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      toWeight[group + Held<T, P>::place(p) + i] = dw[p][i];
      toBias[group + Held<T, P>::place(p) + i] = db[p][i];
    }
  }
}

/// The gradient of a row of any size, and its statistics.
template <class T>
__device__ __forceinline__ void gradientLooped(const T* g, const T* x, const Parameter& weight, T* dx, const Rows& r,
                                               Statistics<Computed<T>>* statistics) {
  using C = Computed<T>;
  const auto s = statisticsOf(r, x);
  if (threadIdx.x == 0) *statistics = s;
  Two<C> sums{0, 0};
  const auto each = [&](auto&& f) {
    eachLoaded(x, r.size, [&]<int N>(Run<N> run, int64_t at, C(&normal)[N]) {
      C weighted[N], w[N];
      loadRun<N>(g + at, weighted);
      weight.load(at, w, C(1));
#pragma unroll
      for (int i = 0; i < N; ++i) normal[i] = (normal[i] - s.mean) * s.scale, weighted[i] *= w[i];
      f(run, at, normal, weighted);
    });
  };
  each([&]<int N>(Run<N>, int64_t, const C(&normal)[N], const C(&weighted)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) sums = sums + Two<C>{weighted[i], weighted[i] * normal[i]};
  });
  const auto a = averagesOf(sums, r);
  each([&]<int N>(Run<N>, int64_t at, const C(&normal)[N], const C(&weighted)[N]) {
    C to[N];
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = s.scale * (weighted[i] - a.plain - normal[i] * a.along);
    storeRun<N>(dx + at, to);
  });
}

}  // namespace anneal::cuda
