// Matrix products of any dtype and strides: the fallback of cuBLASLt, and what it does not do (integers, odd layouts).
#include "blas.h"
#include "device.h"
#include "epilogue.cuh"
#include "index.h"
#include "ops/reduce.h"
#include "value.h"

namespace anneal::cuda {
namespace {

constexpr int kTile = 64, kDepth = 16, kSide = 16, kEach = kTile / kSide;  // each thread makes kEach x kEach results

/// What products of T add up in; integers wrap.
template <class T>
using Sum =
    std::conditional_t<std::is_same_v<T, double>, double, std::conditional_t<std::is_integral_v<T>, uint64_t, float>>;

struct Operands {
  const void *a, *b, *bias;
  void* c;
  int64_t m, n, k, aRow, aColumn, bRow, bColumn, ldc;
  double alpha, beta;
  Epilogue epilogue;
};

template <class T>
__device__ Sum<T> widened(T v) {
  if constexpr (std::is_integral_v<T>) return Sum<T>(int64_t(v));
  else return cpu::convertTo<Sum<T>>(v);
}

/// sum + u v, rounded once for floats. It says so, since the compiler may not contract anything here: what follows a
/// product has the bits of the operations one by one.
template <class S>
__device__ __forceinline__ S added(S sum, S u, S v) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_floating_point_v<S>) return fma(u, v, sum);
#endif
  return sum + u * v;
}

/// C = alpha A B + beta C + bias for each matrix of the batch: tiles go through shared memory, rounds of kDepth at a
/// time.
/// Factors of T, results of R.
template <class T, class R>
__global__ void __launch_bounds__(kSide* kSide) multiplyTiles(Operands p, Walk<3, int64_t> batch) {
  __shared__ Sum<T> left[kDepth][kTile + 1], right[kDepth][kTile + 1];
  int64_t base[3];
  batch.place(blockIdx.z, base);
  const T *a = static_cast<const T*>(p.a) + base[0], *b = static_cast<const T*>(p.b) + base[1];
  R *all = static_cast<R*>(p.c), *c = all + base[2];
  const int64_t row0 = int64_t(blockIdx.y) * kTile, column0 = int64_t(blockIdx.x) * kTile;
  const int x = int(threadIdx.x), y = int(threadIdx.y), me = y * kSide + x;
  Sum<T> sums[kEach][kEach] = {};
  for (int64_t k0 = 0; k0 < p.k; k0 += kDepth) {
    for (int i = me; i < kTile * kDepth; i += kSide * kSide) {
      // Neighbouring threads read neighbouring memory in either layout.
      const int ar = p.aColumn == 1 ? i / kDepth : i % kTile, ak = p.aColumn == 1 ? i % kDepth : i / kTile;
      const int bc = p.bRow == 1 ? i / kDepth : i % kTile, bk = p.bRow == 1 ? i % kDepth : i / kTile;
      const bool hasA = row0 + ar < p.m && k0 + ak < p.k, hasB = column0 + bc < p.n && k0 + bk < p.k;
      left[ak][ar] = hasA ? widened(a[(row0 + ar) * p.aRow + (k0 + ak) * p.aColumn]) : Sum<T>(0);
      right[bk][bc] = hasB ? widened(b[(k0 + bk) * p.bRow + (column0 + bc) * p.bColumn]) : Sum<T>(0);
    }
    __syncthreads();
    // Not past the end: 0 times an infinity would not be 0.
    const int depth = int(std::min<int64_t>(kDepth, p.k - k0));
    for (int k = 0; k < depth; ++k) {
      Sum<T> u[kEach], v[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) u[i] = left[k][y + i * kSide];
#pragma unroll
      for (int j = 0; j < kEach; ++j) v[j] = right[k][x + j * kSide];
#pragma unroll
      for (int i = 0; i < kEach; ++i)
#pragma unroll
        for (int j = 0; j < kEach; ++j) sums[i][j] = added(sums[i][j], u[i], v[j]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int64_t row = row0 + y + i * kSide, column = column0 + x + j * kSide;
      if (row >= p.m || column >= p.n) continue;
      R& to = c[row * p.ldc + column];
      Sum<T> sum = sums[i][j];
      if (p.alpha != 1) sum = Sum<T>(double(sum) * p.alpha);
      if (p.beta != 0) sum += p.beta == 1 ? widened(to) : Sum<T>(p.beta * double(widened(to)));
      if (p.bias) sum += widened(static_cast<const R*>(p.bias)[column]);
      if constexpr (std::is_integral_v<R>) to = R(sum);
      else to = cpu::convertTo<R>(sum);
    }
  }
  if constexpr (!std::is_integral_v<T>) {
    if (p.epilogue.empty()) return;
      // Each thread goes once more through what it has just written itself.
#pragma unroll 1
    for (int i = 0; i < kEach * kEach; ++i) {
      const int64_t row = row0 + y + i / kEach * kSide, column = column0 + x + i % kEach * kSide;
      if (row < p.m && column < p.n) finishElement(p.epilogue, all, all, base[2] + row * p.ldc + column);
    }
  }
}

Walk<3, int64_t> walkOf(const cpu::Gemm& g) {
  Walk<3, int64_t> walk;
  for (int i = g.batch.rank() - 1; i >= 0; --i) {
    walk.size[walk.rank] = Divider(uint32_t(g.batch[i]));
    walk.stride[walk.rank][0] = g.aBatch[i];
    walk.stride[walk.rank][1] = g.bBatch[i];
    walk.stride[walk.rank][2] = g.cBatch[i];
    ++walk.rank;
  }
  return walk;
}

void multiplyByKernel(cpu::Gemm g, const Epilogue& epilogue) {
  // A grid has at most 65535 layers: a larger batch is cut along its first axis, and along the others if need be.
  constexpr int64_t kMost = 65535;
  if (g.batch.product() > kMost) {
    const size_t item = itemSize(g.dtype);
    const int64_t outer = g.batch[0], aStep = g.aBatch[0], bStep = g.bBatch[0], cStep = g.cBatch[0];
    const bool single = g.batch.rank() == 1;
    for (int64_t i = 0, n; i < outer; i += n) {
      n = single ? std::min(kMost, outer - i) : 1;
      cpu::Gemm part = g;
      part.a.data = static_cast<const std::byte*>(g.a.data) + size_t(i * aStep) * item;
      part.b.data = static_cast<const std::byte*>(g.b.data) + size_t(i * bStep) * item;
      const size_t done = size_t(i * cStep) * itemSize(g.result());
      part.c = static_cast<std::byte*>(g.c) + done;
      part.batch[0] = n;
      if (!single)
        for (Dims* d : {&part.batch, &part.aBatch, &part.bBatch, &part.cBatch}) d->erase(0);
      multiplyByKernel(part, epilogue.from(done));
    }
    return;
  }
  const Operands p{g.a.data,   g.b.data, g.bias,     g.c,   g.m,     g.n,    g.k,     g.a.row,
                   g.a.column, g.b.row,  g.b.column, g.ldc, g.alpha, g.beta, epilogue};
  const dim3 grid(blocksFor(g.n, kTile), blocksFor(g.m, kTile), unsigned(g.batch.product()));
  require(grid.y <= kMost, Code::Shape, "cuda: a product without cuBLASLt has at most ", kMost * kTile, " rows; got ",
          g.m);
  const dim3 block(kSide, kSide);
  visitType(g.dtype, [&]<class T>(TypeTag<T>) {
    if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>)
      if (g.wide) return launch(multiplyTiles<T, float>, grid, block, 0, stream(), p, walkOf(g));
    if constexpr (!std::is_same_v<T, bool>) launch(multiplyTiles<T, T>, grid, block, 0, stream(), p, walkOf(g));
  });
}

/// Whether a factor is what BLAS takes: one of its axes steps by one.
bool layoutOf(const cpu::Factor& f, int64_t rows, int64_t columns, int64_t& ld, bool& transposed) {
  if (f.column == 1 || columns == 1) {
    ld = rows == 1 ? std::max<int64_t>(columns, 1) : f.row;
    transposed = false;
    return ld >= columns && (f.column == 1 || columns == 1);
  }
  if (f.row == 1 || rows == 1) {
    ld = f.column;
    transposed = true;
    return ld >= rows;
  }
  return false;
}

/// The batch as matrices at equal distances; false where it is not that.
bool evenBatch(const cpu::Gemm& g, Product& p) {
  p.batch = g.batch.product();
  if (p.batch == 1) return true;
  int last = g.batch.rank() - 1;
  while (last >= 0 && g.batch[last] == 1) --last;
  p.strideA = g.aBatch[last];
  p.strideB = g.bBatch[last];
  p.strideC = g.cBatch[last];
  int64_t count = 1;
  for (int i = last; i >= 0; --i) {
    if (g.batch[i] == 1) continue;
    if (g.aBatch[i] != p.strideA * count || g.bBatch[i] != p.strideB * count || g.cBatch[i] != p.strideC * count)
      return false;
    count *= g.batch[i];
  }
  return true;
}

}  // namespace

void sumFactor(const FactorSums& sums) {
  const ops::Reduce over{.axis = Ints{sums.right ? 0 : 1}};
  ops::sum.row().kernels[size_t(DeviceType::Cuda)](&over, {sums.of, 1}, {sums.to, 1});
}

void multiply(const cpu::Gemm& g, const Epilogue& epilogue, const FactorSums& sums) {
  if (g.m == 0 || g.n == 0 || g.batch.product() == 0) return;
  Product p{.dtype = g.dtype, .wide = g.wide, .m = g.m, .n = g.n, .k = g.k, .a = g.a.data, .b = g.b.data, .c = g.c};
  p.ldc = g.ldc;
  p.alpha = g.alpha;
  p.beta = g.beta;
  p.bias = g.bias;
  p.epilogue = epilogue;
  p.sums = sums;
  const bool regular = g.k > 0 && isFloat(g.dtype) && layoutOf(g.a, g.m, g.k, p.lda, p.transposeA) &&
                       layoutOf(g.b, g.k, g.n, p.ldb, p.transposeB) && evenBatch(g, p);
  p.batch = g.batch.product();
  const bool apart = p.joined() && choosesApart();
  if (regular && !apart && multiplyByLibrary(p)) return;
  if (!p.joined()) return multiplyByKernel(g, {});
  if (regular && multiplyByLibrary(p.plain())) return p.finish();
  if (!apart && !sums.to) return multiplyByKernel(g, epilogue);
  cpu::Gemm plain = g;
  plain.c = p.plain().c;
  multiplyByKernel(plain, {});
  p.finish();
}

}  // namespace anneal::cuda
