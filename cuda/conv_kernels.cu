// Convolutions by own kernels: tiles of the products in conv.cuh through shared memory, and plain loops for groups of
// few channels.
#include <optional>

#include "conv.cuh"
#include "device.h"
#include "dnn.h"
#include "epilogue.h"
#include "rows.cuh"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 64, kDepth = 16;  // of a block; each thread has 4 by 4 of the results
constexpr int kFew = 16;                // channels of a group below which tiles would be mostly empty
constexpr int kBlocks = 512;            // that a gradient of the weight is shared out to
constexpr int kLanes = 8;               // pixels of which a block of the plain gradient takes one each

/// One side's part of a tile: `row` and `depth` make what `element` reads.
template <bool Deep, class Pack, class Row, class Depth, class Element>
__device__ __forceinline__ void fillTile(Pack (&tile)[kDepth][kTile / 4 + 1], int64_t k0, int64_t end, const Row& rows,
                                         Depth&& depth, Element&& element) {
  const int t = int(threadIdx.x);
  if constexpr (Deep) {
    const int k = t % kDepth;
    const bool inside = k0 + k < end;
    const auto d = depth(inside ? k0 + k : 0);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int m = t / kDepth + i * (kThreads / kDepth);
      tile[k][m / 4].v[m % 4] = inside ? element(rows[i], d) : 0;
    }
  } else {
    const int m = t % kTile;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int k = t / kTile + i * (kThreads / kTile);
      tile[k][m / 4].v[m % 4] = k0 + k < end ? element(rows[0], depth(k0 + k)) : 0;
    }
  }
}

/// The rows of a tile that a thread reads.
template <bool Deep, class Row, class F>
__device__ __forceinline__ void readRows(Row (&rows)[4], F&& row) {
  const int t = int(threadIdx.x);
#pragma unroll
  for (int i = 0; i < (Deep ? 4 : 1); ++i) rows[i] = row(Deep ? t / kDepth + i * (kThreads / kDepth) : t % kTile);
}

template <class P>
__global__ void __launch_bounds__(kThreads, sizeof(typename P::C) == 8 ? 2 : 3) productTiles(P p, int groups) {
  using C = typename P::C;
  __shared__ Pack<C, 4> left[kDepth][kTile / 4 + 1], right[kDepth][kTile / 4 + 1];
  const int64_t m0 = int64_t(blockIdx.x) * kTile;
  const int n0 = int(blockIdx.y) * kTile, group = int(blockIdx.z) % groups, part = int(blockIdx.z) / groups;
  decltype(p.rowA(0, 0)) rowsA[4];
  decltype(p.rowB(0, 0)) rowsB[4];
  readRows<P::kDeepA>(rowsA, [&](int i) { return p.rowA(m0 + i, group); });
  readRows<P::kDeepB>(rowsB, [&](int i) { return p.rowB(n0 + i, group); });
  C sum[4][4] = {};
  const int x = int(threadIdx.x) % 16, y = int(threadIdx.x) / 16;
  const int64_t end = p.end(part);
  for (int64_t k0 = p.begin(part); k0 < end; k0 += kDepth) {
    fillTile<P::kDeepA>(
        left, k0, end, rowsA, [&](int64_t k) { return p.depthA(k); },
        [&](const auto& row, const auto& depth) { return p.a(row, depth); });
    fillTile<P::kDeepB>(
        right, k0, end, rowsB, [&](int64_t k) { return p.depthB(k); },
        [&](const auto& row, const auto& depth) { return p.b(row, depth); });
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      const Pack<C, 4> a = left[k][y], b = right[k][x];
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] += a.v[i] * b.v[j];
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t m = m0 + y * 4 + i;
      const int n = n0 + x * 4 + j;
      if (m < p.rows() && n < p.columns()) p.store(m, n, group, part, sum[i][j]);
    }
}

/// One element of the result by each thread.
template <class P>
__global__ void __launch_bounds__(kThreads) productLoops(P p, int groups) {
  const int64_t i = threadNumber(), width = int64_t(groups) * p.columns(), m = i / width;
  if (m >= p.rows()) return;
  const int channel = int(i - m * width), group = channel / p.columns(), n = channel % p.columns();
  const auto left = p.rowA(m, group);
  const auto right = p.rowB(n, group);
  typename P::C sum = 0;
  for (int64_t k = 0; k < p.end(0); ++k) sum += p.a(left, p.depthA(k)) * p.b(right, p.depthB(k));
  p.store(m, n, group, 0, sum);
}

/// A part of the gradient of the weight: blocks of 32 channels for one tap and input channel.
template <class P>
__global__ void __launch_bounds__(32 * kLanes) weightLoops(P p) {
  using C = typename P::C;
  __shared__ C sums[kLanes][32];
  const int x = int(threadIdx.x), y = int(threadIdx.y), channel = int(blockIdx.x) * 32 + x, part = int(blockIdx.z);
  const int group = channel / p.s.groupOut, m = channel % p.s.groupOut;
  const bool inside = channel < p.s.outChannels();
  for (int n = int(blockIdx.y); n < p.columns(); n += int(gridDim.y)) {
    C sum = 0;
    if (inside) {
      const auto left = p.rowA(m, group);
      const auto right = p.rowB(n, group);
      for (int64_t k = p.begin(part) + y; k < p.end(part); k += kLanes)
        sum += p.a(left, p.depthA(k)) * p.b(right, p.depthB(k));
    }
    sums[y][x] = sum;
    __syncthreads();
    if (y == 0 && inside) {
      for (int i = 1; i < kLanes; ++i) sum += sums[i][x];
      p.store(m, n, group, part, sum);
    }
    __syncthreads();
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) sumParts(const ConvSum<T>* parts, int count, T* to, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  double sum = 0;
  for (int p = 0; p < count; ++p) sum += double(parts[p * n + i]);
  to[i] = cpu::convertTo<T>(sum);
}

/// Packs of N elements, which are aligned and of neighbouring channels of one pixel.
template <class T, int N>
__global__ void __launch_bounds__(kThreads) finishElements(const T* from, ConvStore<T> to, int channels, int64_t n) {
  using P = Pack<T, N>;
  const int64_t begin = threadNumber() * N;
  if (begin >= n) return;
  const auto channel = int(begin % channels);
  const P sums = *reinterpret_cast<const P*>(from + begin);
  const P residual = to.residual ? *reinterpret_cast<const P*>(to.residual + begin) : sums;
  P result;
#pragma unroll
  for (int i = 0; i < N; ++i) result.v[i] = to.after(channel + i, cpu::convertTo<ConvSum<T>>(sums.v[i]), residual.v[i]);
  *reinterpret_cast<P*>(to.to + begin) = result;
}

template <class T>
const T* orNull(const View& v) {
  return v.defined ? v.as<T>() : nullptr;
}

/// Numbers of positions and of a filter's elements are kept in 32 bits.
ConvSizes sizesOf(const ConvShape& s) {
  checkPositions("convolution", std::max({s.batch * s.in.product(), s.batch * s.out.product(),
                                          s.kernel.product() * s.groupIn(), s.kernel.product() * s.groupOut()}));
  return ConvSizes(s);
}

template <class P>
void multiply(const P& p, int groups) {
  if (p.columns() < kFew) {
    const int64_t n = p.rows() * p.columns() * groups;
    return launch(productLoops<P>, blocksFor(n, kThreads), kThreads, 0, stream(), p, groups);
  }
  require(groups <= 65535, Code::Shape, "convolution: ", groups, " groups; on a GPU there may be at most 65535");
  launch(productTiles<P>, dim3(blocksFor(p.rows(), kTile), blocksFor(p.columns(), kTile), unsigned(groups)), kThreads,
         0, stream(), p, groups);
}

template <class T>
void weightsOf(const ConvShape& shape, const View& x, const View& grad, const View& dw) {
  using P = ConvWeightsProduct<T>;
  P p{sizesOf(shape), x.as<T>(), grad.as<T>(), nullptr, 0};
  const bool few = p.s.groupOut < kFew && p.s.groups > 1;
  const dim3 tiles = few ? dim3(blocksFor(p.s.outChannels(), 32), unsigned(std::min(p.columns(), 65535)))
                         : dim3(blocksFor(p.rows(), kTile), blocksFor(p.columns(), kTile));
  const int64_t each = int64_t(tiles.x) * tiles.y * (few ? 1 : p.s.groups);
  const int64_t parts = std::clamp<int64_t>(kBlocks / each, 1, (p.pixels() + 255) / 256 + 1);
  const int64_t depth = (p.pixels() + parts - 1) / parts;
  p.length = std::max<int64_t>(depth, 1);
  const Scratch memory(size_t(parts * dw.size()) * sizeof(typename P::C));
  p.parts = memory.as<typename P::C>();
  if (few) {
    launch(weightLoops<P>, dim3(tiles.x, tiles.y, unsigned(parts)), dim3(32, kLanes), 0, stream(), p);
  } else {
    require(parts * p.s.groups <= 65535, Code::Shape, "convolution: ", p.s.groups,
            " groups; on a GPU there may be at most 65535");
    launch(productTiles<P>, dim3(tiles.x, tiles.y, unsigned(parts * p.s.groups)), kThreads, 0, stream(), p, p.s.groups);
  }
  launch(sumParts<T>, blocksFor(dw.size(), kThreads), kThreads, 0, stream(), p.parts, int(parts), dw.as<T>(),
         dw.size());
}

const View kNone{.defined = false};

/// y = after(from + bias): what the library does not do. `from` may be y, and what is added, too.
void finish(const void* from, const View& bias, const ConvAfter& after, const View& y) {
  if (y.size() == 0 || (from == y.memory && !bias.defined && !after.residual.defined && !after.relu)) return;
  visitFloat(y.dtype, [&]<class T>(TypeTag<T>) {
    constexpr int N = 16 / sizeof(T);
    const ConvStore<T> to{y.as<T>(), orNull<T>(bias), orNull<T>(after.residual), after.relu};
    const auto channels = int(y.shape.back());
    const bool packs = channels % N == 0 && aligned(from) && aligned(to.to) && aligned(to.residual);
    launch(packs ? finishElements<T, N> : finishElements<T, 1>,
           blocksFor(y.size(), int64_t(kThreads) * (packs ? N : 1)), kThreads, 0, stream(), static_cast<const T*>(from),
           to, channels, y.size());
  });
}

void convolveByKernel(const ConvShape& s, const View& x, const View& weight, const View& bias, const ConvAfter& after,
                      const View& y) {
  visitFloat(y.dtype, [&]<class T>(TypeTag<T>) {
    multiply(
        ConvForwardProduct<T>{
            sizesOf(s), x.as<T>(), weight.as<T>(), {y.as<T>(), orNull<T>(bias), orNull<T>(after.residual), after.relu}},
        int(s.groups));
  });
}

}  // namespace

void convolve(const ConvShape& s, const View& x, const View& weight, const View& bias, const ConvAfter& after,
              const View& y) {
  if (y.size() == 0) return;
  // What is added may lie where the result is to go.
  std::optional<Scratch> aside;
  View sums = y;
  if (after.residual.defined && after.residual.memory == y.memory)
    sums.memory = aside.emplace(size_t(y.size()) * itemSize(y.dtype)).as<std::byte>();
  if (!s.empty() && convolveByLibrary(ConvWay::Forward, s, x, weight, sums)) return finish(sums.memory, bias, after, y);
  if (!choosesApart()) return convolveByKernel(s, x, weight, bias, after, y);
  convolveByKernel(s, x, weight, kNone, {.residual = kNone}, sums);
  finish(sums.memory, bias, after, y);
}

void convolveData(const ConvShape& s, const View& grad, const View& weight, const View& bias, const View& dx) {
  if (dx.size() == 0) return;
  if (!s.empty() && convolveByLibrary(ConvWay::Data, s, dx, weight, grad))
    return finish(dx.memory, bias, {.residual = kNone}, dx);
  visitFloat(dx.dtype, [&]<class T>(TypeTag<T>) {
    multiply(ConvDataProduct<T>{sizesOf(s), grad.as<T>(), weight.as<T>(), {dx.as<T>(), orNull<T>(bias)}},
             int(s.groups));
  });
}

void convolveWeights(const ConvShape& s, const View& x, const View& grad, const View& dw) {
  if (dw.size() == 0) return;
  if (!s.empty() && convolveByLibrary(ConvWay::Weights, s, x, dw, grad)) return;
  visitFloat(dw.dtype, [&]<class T>(TypeTag<T>) { weightsOf<T>(s, x, grad, dw); });
}

}  // namespace anneal::cuda
