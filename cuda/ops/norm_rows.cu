// Normalisation of rows: layerNorm, rmsNorm and their gradients.
#include <cmath>

#include "columns.h"
#include "copy.h"
#include "ops/norm.h"
#include "rows.cuh"

namespace anneal::cuda {
namespace {

constexpr int kMost = 4, kMostOfGradient = 2;  // packs of a row in a thread
constexpr int64_t kThreadsPerProcessor = 768;  // of the gradient's groups, each of which leaves sums behind
constexpr int kSumRows = 16, kPieceRows = 64;

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
__device__ __forceinline__ Statistics<C> statisticsOf(const Rows& r, C* shared, F&& each) {
  C mean = 0, squares = 0;
  if (r.centered) {
    each([&](C v) { mean += v; });
    mean = mergeBlock(mean, shared, Add()) / C(r.size);
  }
  each([&](C v) { squares += (v - mean) * (v - mean); });
  return {mean, C(1) / std::sqrt(mergeBlock(squares, shared, Add()) / C(r.size) + C(r.eps))};
}

/// The elements of a row, one after the other, from memory.
template <class T>
struct Looped {
  const T* row;
  int64_t n;
  template <class F>
  __device__ __forceinline__ void operator()(F&& f) const {
    eachRun(row, n, [&]<int N>(Run<N>, int64_t at) {
      Computed<T> values[N];
      loadRun<N>(row + at, values);
#pragma unroll
      for (const auto v : values) f(v);
    });
  }
};

template <class T, int P>
__global__ void __launch_bounds__(kRowThreads)
    normalizeRows(const T* x, Parameter weight, Parameter bias, T* y, Rows r) {
  using C = Computed<T>;
  __shared__ C shared[kWarp];
  const int64_t row = rowNumber();
  if (row >= r.rows) return;
  x += row * r.size;
  y += row * r.size;
  const auto n = int(r.size);
  if constexpr (P > 0) {
    constexpr int N = kPack<T>;
    Held<T, P> in;
    in.load(x, n);
    const auto s =
        statisticsOf<C>(r, shared, [&](auto&& f) { eachHeld<T, P>(n, [&](int p, int i, int) { f(in.at(p, i)); }); });
    C w[N], b[N];
    storeHeld<T, P>(y, n, [&](int p, int i, int place) {
      if (i == 0) weight.load(place, w, C(1)), bias.load(place, b, C(0));
      return (in.at(p, i) - s.mean) * s.scale * w[i] + b[i];
    });
  } else {
    const auto s = statisticsOf<C>(r, shared, Looped<T>{x, r.size});
    eachRun(x, r.size, [&]<int N>(Run<N>, int64_t at) {
      C values[N], w[N], b[N];
      loadRun<N>(x + at, values);
      weight.load(at, w, C(1));
      bias.load(at, b, C(0));
#pragma unroll
      for (int i = 0; i < N; ++i) values[i] = (values[i] - s.mean) * s.scale * w[i] + b[i];
      storeRun<N>(y + at, values);
    });
  }
}

/// What an element's gradient needs of its row: the averages of weight * grad, and of that times the normalised x.
template <class C>
struct Averages {
  C plain, along;
};

template <class C>
__device__ __forceinline__ Averages<C> averagesOf(Two<C> sums, const Rows& r, Two<C>* shared) {
  sums = mergeBlock(sums, shared, Add());
  return {r.centered ? sums.first / C(r.size) : C(0), sums.second / C(r.size)};
}

/// Each group of threads has every gridDim-th row, and keeps the sums for weight and bias of its rows in registers:
/// `toWeight` and `toBias` [groups, size].
template <class T, int P>
__global__ void __launch_bounds__(kRowThreads)
    rowsGradient(const T* g, const T* x, Parameter weight, T* dx, Rows r, Computed<T>* toWeight, Computed<T>* toBias) {
  using C = Computed<T>;
  constexpr int N = kPack<T>;
  __shared__ C shared[kWarp];
  __shared__ Two<C> sharedTwo[kWarp];
  const auto n = int(r.size);
  C w[P][N], dw[P][N] = {}, db[P][N] = {};
#pragma unroll
  for (int p = 0; p < P; ++p)
    if (Held<T, P>::place(p) < n) weight.load(Held<T, P>::place(p), w[p], C(1));
  for (int64_t row = rowNumber(); row < r.rows; row += int64_t(gridDim.x) * blockDim.y) {
    Held<T, P> in, grad;
    in.load(x + row * n, n);
    grad.load(g + row * n, n);
    const auto s =
        statisticsOf<C>(r, shared, [&](auto&& f) { eachHeld<T, P>(n, [&](int p, int i, int) { f(in.at(p, i)); }); });
    Two<C> sums{0, 0};
    eachHeld<T, P>(n, [&](int p, int i, int) {
      const C normal = (in.at(p, i) - s.mean) * s.scale, weighted = grad.at(p, i) * w[p][i];
      sums = sums + Two<C>{weighted, weighted * normal};
      dw[p][i] += grad.at(p, i) * normal;
      db[p][i] += grad.at(p, i);
    });
    const auto a = averagesOf(sums, r, sharedTwo);
    storeHeld<T, P>(dx + row * n, n, [&](int p, int i, int) {
      const C normal = (in.at(p, i) - s.mean) * s.scale;
      return s.scale * (grad.at(p, i) * w[p][i] - a.plain - normal * a.along);
    });
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

/// For rows that do not fit into registers: dx, and the rows' statistics.
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    longRowsGradient(const T* g, const T* x, Parameter weight, T* dx, Rows r, Statistics<Computed<T>>* statistics) {
  using C = Computed<T>;
  __shared__ C shared[kWarp];
  __shared__ Two<C> sharedTwo[kWarp];
  const int64_t row = rowNumber();
  if (row >= r.rows) return;
  x += row * r.size;
  g += row * r.size;
  dx += row * r.size;
  const auto s = statisticsOf<C>(r, shared, Looped<T>{x, r.size});
  if (threadIdx.x == 0) statistics[row] = s;
  Two<C> sums{0, 0};
  const auto each = [&](auto&& f) {
    eachRun(x, r.size, [&]<int N>(Run<N> run, int64_t at) {
      C normal[N], weighted[N], w[N];
      loadRun<N>(x + at, normal);
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
  const auto a = averagesOf(sums, r, sharedTwo);
  each([&]<int N>(Run<N>, int64_t at, const C(&normal)[N], const C(&weighted)[N]) {
    C to[N];
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = s.scale * (weighted[i] - a.plain - normal[i] * a.along);
    storeRun<N>(dx + at, to);
  });
}

/// Sums for weight and bias over a piece of the rows for each blockIdx.y: 32 columns for each block.
template <class T>
__global__ void __launch_bounds__(kWarp* kSumRows)
    parameterSums(const T* g, const T* x, const Statistics<Computed<T>>* statistics, Rows r, Computed<T>* toWeight,
                  Computed<T>* toBias) {
  using C = Computed<T>;
  __shared__ Two<C> shared[kSumRows][kWarp];
  const int64_t column = int64_t(blockIdx.x) * kWarp + threadIdx.x;
  Two<C> sums{0, 0};
  if (column < r.size)
    for (int64_t row = blockIdx.y * kSumRows + threadIdx.y; row < r.rows; row += int64_t(gridDim.y) * kSumRows) {
      const C grad = cpu::convertTo<C>(g[row * r.size + column]), v = cpu::convertTo<C>(x[row * r.size + column]);
      sums = sums + Two<C>{grad * (v - statistics[row].mean) * statistics[row].scale, grad};
    }
  shared[threadIdx.y][threadIdx.x] = sums;
  __syncthreads();
  if (threadIdx.y > 0 || column >= r.size) return;
  for (int y = 1; y < kSumRows; ++y) sums = sums + shared[y][threadIdx.x];
  toWeight[blockIdx.y * r.size + column] = sums.first;
  toBias[blockIdx.y * r.size + column] = sums.second;
}

template <class C>
__global__ void __launch_bounds__(1024) sumPiecesKernel(const C* pieces, int64_t count, int64_t columns, C* out) {
  __shared__ C shared[kWarp][kWarp];
  const int64_t column = int64_t(blockIdx.x) * kWarp + threadIdx.x;
  C sum = 0;
  if (column < columns) {
#pragma unroll 8
    for (int64_t i = threadIdx.y; i < count; i += kWarp) sum += pieces[i * columns + column];
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= columns) return;
  for (int y = 1; y < kWarp; ++y) sum += shared[y][threadIdx.x];
  out[column] = sum;
}

Rows rowsOf(const ops::NormalizeRows& a, const Shape& x) {
  const int rank = x.rank(), axes = int(a.axes);
  return {x.slice(0, rank - axes).product(), x.slice(rank - axes, rank).product(), a.eps, a.centered};
}

void normalize(const ops::NormalizeRows& a, std::span<const View> in, const View& y) {
  if (y.size() == 0) return;
  const Rows r = rowsOf(a, y.shape);
  const Parameter weight(in[1]), bias = in.size() > 2 ? Parameter(in[2]) : Parameter();
  visitFloat(y.dtype, [&]<class T>(TypeTag<T>) {
    const T* from = in[0].as<T>();
    T* to = y.as<T>();
    const RowPlan plan = planRows<T>(r.size, kMost, {from, to});
    visitHeld<T, kMost>(plan, [&]<int P>(std::integral_constant<int, P>) {
      launch(normalizeRows<T, P>, plan.blocksFor(r.rows), plan.block, 0, stream(), from, weight, bias, to, r);
    });
  });
}

void layerNormCuda(const Call<ops::LayerNorm>& c) { normalize(ops::normalizedRows(c.attrs), c.in, c.out[0]); }
void rmsNormCuda(const Call<ops::RmsNorm>& c) {
  normalize(ops::normalizedRows(c.attrs, c.in[0].dtype), c.in, c.out[0]);
}

template <class T>
void gradientByLooping(const RowPlan& plan, const Rows& r, const T* g, const T* x, const Parameter& weight, T* dx,
                       Computed<T>* dw, Computed<T>* db) {
  using C = Computed<T>;
  const Scratch statistics(size_t(r.rows) * sizeof(Statistics<C>));
  launch(longRowsGradient<T>, plan.blocksFor(r.rows), plan.block, 0, stream(), g, x, weight, dx, r,
         statistics.as<Statistics<C>>());
  const unsigned tiles = blocksFor(r.size, kWarp);
  const int64_t wanted = 8 * current().multiprocessors() / tiles,
                pieces = std::clamp<int64_t>(wanted, 1, (r.rows + kPieceRows - 1) / kPieceRows);
  const Scratch sums(size_t(2 * pieces * r.size) * sizeof(C));
  C *toWeight = sums.as<C>(), *toBias = toWeight + pieces * r.size;
  launch(parameterSums<T>, dim3(tiles, unsigned(pieces)), dim3(kWarp, kSumRows), 0, stream(), g, x,
         statistics.as<Statistics<C>>(), r, toWeight, toBias);
  sumPieces(toWeight, pieces, r.size, dw);
  sumPieces(toBias, pieces, r.size, db);
}

template <class T, int P>
void gradientInRegisters(const RowPlan& plan, const Rows& r, const T* g, const T* x, const Parameter& weight, T* dx,
                         Computed<T>* dw, Computed<T>* db) {
  using C = Computed<T>;
  const int64_t threads = int64_t(plan.block.x) * plan.block.y,
                most = std::max<int64_t>(1, current().multiprocessors() * kThreadsPerProcessor / threads),
                blocks = std::min<int64_t>(most, plan.blocksFor(r.rows)), groups = blocks * plan.block.y;
  const Scratch sums(size_t(2 * groups * r.size) * sizeof(C));
  C *toWeight = sums.as<C>(), *toBias = toWeight + groups * r.size;
  launch(rowsGradient<T, P>, unsigned(blocks), plan.block, 0, stream(), g, x, weight, dx, r, toWeight, toBias);
  sumPieces(toWeight, groups, r.size, dw);
  sumPieces(toBias, groups, r.size, db);
}

void rowsGradientCuda(const Call<ops::NormalizeRows>& c) {
  const View &g = c.in[0], &x = c.in[1], &dx = c.out[0], &dw = c.out[1], &db = c.out[2];
  const Rows r = rowsOf(c.attrs, x.shape);
  if (r.size == 0) return;
  if (r.rows == 0) return fill(dw, 0), fill(db, 0);
  visitFloat(x.dtype, [&]<class T>(TypeTag<T>) {
    using C = Computed<T>;
    const T *grad = g.as<T>(), *from = x.as<T>();
    T* to = dx.as<T>();
    const RowPlan plan = planRows<T>(r.size, kMostOfGradient, {grad, from, to});
    visitHeld<T, kMostOfGradient>(plan, [&]<int P>(std::integral_constant<int, P>) {
      if constexpr (P == 0) gradientByLooping<T>(plan, r, grad, from, Parameter(c.in[2]), to, dw.as<C>(), db.as<C>());
      else gradientInRegisters<T, P>(plan, r, grad, from, Parameter(c.in[2]), to, dw.as<C>(), db.as<C>());
    });
  });
}

const Implement<ops::LayerNorm> layerNormOnCuda("layerNorm", DeviceType::Cuda, layerNormCuda);
const Implement<ops::RmsNorm> rmsNormOnCuda("rmsNorm", DeviceType::Cuda, rmsNormCuda);
const Implement<ops::NormalizeRows> rowsGradientOnCuda("normalizeRowsGradient", DeviceType::Cuda, rowsGradientCuda);

}  // namespace

template <class C>
void sumPieces(const C* pieces, int64_t count, int64_t columns, C* out) {
  if (columns == 0) return;
  launch(sumPiecesKernel<C>, blocksFor(columns, kWarp), dim3(kWarp, kWarp), 0, stream(), pieces, count, columns, out);
}
template void sumPieces(const float*, int64_t, int64_t, float*);
template void sumPieces(const double*, int64_t, int64_t, double*);

}  // namespace anneal::cuda
