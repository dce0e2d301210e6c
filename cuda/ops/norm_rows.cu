// Normalisation of rows: layerNorm, rmsNorm and their gradients.
#include "norm_rows.h"

#include "columns.h"
#include "copy.h"

namespace anneal::cuda {
namespace {

constexpr int kSumRows = 16, kPieceRows = 64;

template <class T, int P>
__global__ void __launch_bounds__(kRowThreads, P > 0 ? 0 : 1)
    normalizeRows(const T* x, Parameter weight, Parameter bias, T* y, Rows r) {
  const int64_t row = rowNumber();
  if (row >= r.rows) return;
  x += row * r.size;
  y += row * r.size;
  if constexpr (P > 0) {
    Held<T, P> held;
    held.load(x, int(r.size));
    normalizeHeld(held, weight, bias, r,
                  [&](int, int place, const Pack<T, kPack<T>>& pack) { storePack(y + place, pack); });
  } else {
    normalizeLooped(x, weight, bias, y, r);
  }
}

template <class T, int P>
__global__ void __launch_bounds__(kRowThreads, 1)
    rowsGradient(const T* g, const T* x, Parameter weight, T* dx, Rows r, Computed<T>* toWeight, Computed<T>* toBias) {
  gradientOfHeld<T, P>(
      x, weight, r, toWeight, toBias, [&](int64_t row, Held<T, P>& grad) { grad.load(g + row * r.size, int(r.size)); },
      [&](int64_t row, int, int place, const Pack<T, kPack<T>>& pack) { storePack(dx + row * r.size + place, pack); });
}

/// For rows that do not fit into registers: dx, and the rows' statistics.
template <class T>
__global__ void __launch_bounds__(kRowThreads, 1)
    longRowsGradient(const T* g, const T* x, Parameter weight, T* dx, Rows r, Statistics<Computed<T>>* statistics) {
  const int64_t row = rowNumber(), from = row * r.size;
  if (row < r.rows) gradientLooped(g + from, x + from, weight, dx + from, r, statistics + row);
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

void normalize(const ops::NormalizeRows& a, std::span<const View> in, const View& y) {
  if (y.size() == 0) return;
  const Rows r = rowsOf(a, y.shape);
  const Parameter weight(in[1]), bias = in.size() > 2 ? Parameter(in[2]) : Parameter();
  visitFloat(y.dtype, [&]<class T>(TypeTag<T>) {
    const T* from = in[0].as<T>();
    T* to = y.as<T>();
    const RowPlan plan = planRows<T>(r.size, kNormPacks, {from, to});
    visitHeld<T, kNormPacks>(plan, [&]<int P>(std::integral_constant<int, P>) {
      launch(normalizeRows<T, P>, plan.blocksFor(r.rows), plan.block, 0, stream(), from, weight, bias, to, r);
    });
  });
}

void layerNormCuda(const Call<ops::LayerNorm>& c) { normalize(ops::normalizedRows(c.attrs), c.in, c.out[0]); }
void rmsNormCuda(const Call<ops::RmsNorm>& c) {
  normalize(ops::normalizedRows(c.attrs, c.in[0].dtype), c.in, c.out[0]);
}

template <class T, int P>
void rowsGradientAs(const RowPlan& plan, const Rows& r, const T* g, const T* x, const Parameter& weight, T* dx,
                    Computed<T>* dw, Computed<T>* db) {
  using C = Computed<T>;
  if constexpr (P > 0) {
    const GroupSums<C> sums(plan, r);
    launch(rowsGradient<T, P>, sums.blocks(), plan.block, 0, stream(), g, x, weight, dx, r, sums.toWeight(),
           sums.toBias());
    sums.finish(dw, db);
  } else {
    const Scratch memory(size_t(r.rows) * sizeof(Statistics<C>));
    auto* statistics = memory.as<Statistics<C>>();
    launch(longRowsGradient<T>, plan.blocksFor(r.rows), plan.block, 0, stream(), g, x, weight, dx, r, statistics);
    sumParameters(g, x, statistics, r, dw, db);
  }
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
    const RowPlan plan = planRows<T>(r.size, kNormGradientPacks, {grad, from, to});
    visitHeld<T, kNormGradientPacks>(plan, [&]<int P>(std::integral_constant<int, P>) {
      rowsGradientAs<T, P>(plan, r, grad, from, Parameter(c.in[2]), to, dw.as<C>(), db.as<C>());
    });
  });
}

const Implement<ops::LayerNorm> layerNormOnCuda("layerNorm", DeviceType::Cuda, layerNormCuda);
const Implement<ops::RmsNorm> rmsNormOnCuda("rmsNorm", DeviceType::Cuda, rmsNormCuda);
const Implement<ops::NormalizeRows> rowsGradientOnCuda("normalizeRowsGradient", DeviceType::Cuda, rowsGradientCuda);

}  // namespace

Rows rowsOf(const ops::NormalizeRows& a, const Shape& x) {
  const int rank = x.rank(), axes = int(a.axes);
  return {x.slice(0, rank - axes).product(), x.slice(rank - axes, rank).product(), a.eps, a.centered};
}

namespace {

/// As many as all run at once, whatever registers a kernel takes: blocks that begin when others end would have the GPU
/// for themselves. It is the same for all kernels, since the order of the sums depends on it.
unsigned blocksOfGradient(const RowPlan& plan, const Rows& r) {
  const int64_t threads = int64_t(plan.block.x) * plan.block.y, ofProcessor = plan.held == 1 ? 768 : 512,
                most = current().multiprocessors() * std::max<int64_t>(1, ofProcessor / threads);
  return unsigned(std::min<int64_t>(most, plan.blocksFor(r.rows)));
}

}  // namespace

template <class C>
GroupSums<C>::GroupSums(const RowPlan& plan, const Rows& r)
    : r_(r),
      blocks_(blocksOfGradient(plan, r)),
      groups_(int64_t(blocks_) * plan.block.y),
      memory_(size_t(2 * groups_ * r.size) * sizeof(C)) {}

template <class C>
void GroupSums<C>::finish(C* dw, C* db) const {
  sumBothPieces(toWeight(), toBias(), groups_, r_.size, dw, db);
}

template <class T>
void sumParameters(const T* g, const T* x, const Statistics<Computed<T>>* statistics, const Rows& r, Computed<T>* dw,
                   Computed<T>* db) {
  using C = Computed<T>;
  const unsigned tiles = blocksFor(r.size, kWarp);
  const int64_t wanted = 8 * current().multiprocessors() / tiles,
                pieces = std::clamp<int64_t>(wanted, 1, (r.rows + kPieceRows - 1) / kPieceRows);
  const Scratch sums(size_t(2 * pieces * r.size) * sizeof(C));
  C *toWeight = sums.as<C>(), *toBias = toWeight + pieces * r.size;
  launch(parameterSums<T>, dim3(tiles, unsigned(pieces)), dim3(kWarp, kSumRows), 0, stream(), g, x, statistics, r,
         toWeight, toBias);
  sumBothPieces(toWeight, toBias, pieces, r.size, dw, db);
}

template class GroupSums<float>;
template class GroupSums<double>;
template void sumParameters(const float*, const float*, const Statistics<float>*, const Rows&, float*, float*);
template void sumParameters(const double*, const double*, const Statistics<double>*, const Rows&, double*, double*);
template void sumParameters(const Half*, const Half*, const Statistics<float>*, const Rows&, float*, float*);
template void sumParameters(const BFloat16*, const BFloat16*, const Statistics<float>*, const Rows&, float*, float*);

}  // namespace anneal::cuda
