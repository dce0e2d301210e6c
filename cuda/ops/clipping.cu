// The norm of many tensors together, and clipping by it. Nothing comes back to the host.
#include <cmath>

#include "ops/optimizers.h"
#include "tensors.cuh"

namespace anneal::cuda {
namespace {

constexpr int kOneBlock = 1024;

/// The sum of the squares of each chunk, in an order that is that of float32 for 16 bits, too.
template <class T>
__global__ void __launch_bounds__(kChunkThreads) squaresOfChunks(TensorTable<1> table, double* out) {
  using C = Computed<T>;
  __shared__ double shared[kWarp];
  const auto& e = table.entries[table.find(blockIdx.x)];
  C sum = 0;
  eachOfChunk<kNeighbours<T>>(e, [&]<int N>(Run<N>, int64_t at) {
    C v[N];
    loadPacked<N, T>(e.arrays[0], at, v);
#pragma unroll
    for (int i = 0; i < N; ++i) sum += v[i] * v[i];
  });
  const double all = mergeBlock(double(sum), shared, Add());
  if (threadIdx.x == 0) out[blockIdx.x] = all;
}

/// The norm, and the factor that brings it to at most `most`: one block. A norm that is not a number must reach the
/// parameters rather than be hidden.
__global__ void __launch_bounds__(kOneBlock)
    normOfChunks(const double* squares, int64_t chunks, double most, float* norm, double* factor) {
  __shared__ double shared[kWarp];
  double sum = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < chunks; i += kOneBlock) sum += squares[i];
  sum = std::sqrt(mergeBlock(sum, shared, Add()));
  if (threadIdx.x != 0) return;
  const double by = most / (sum + 1e-6);
  *norm = float(sum);
  *factor = by >= 1 ? 1 : by;
}

template <class T>
__global__ void __launch_bounds__(kChunkThreads) scaleChunks(TensorTable<2> table, const double* factor) {
  using C = Computed<T>;
  const C by = C(*factor);
  const auto& e = table.entries[table.find(blockIdx.x)];
  eachOfChunk<kPack<T>>(e, [&]<int N>(Run<N>, int64_t at) {
    C v[N];
    loadPacked<N, T>(e.arrays[0], at, v);
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] *= by;
    storePacked<N, T>(e.arrays[1], at, v);
  });
}

void normOf(std::span<const View> tensors, double most, float* norm, double* factor) {
  int64_t chunks = 0;
  for (const View& v : tensors) chunks += blocksFor(v.size(), kChunk);
  const Scratch squares(size_t(chunks + 1) * sizeof(double));
  double* to = squares.as<double>();
  for (const DType dtype : kFloats)
    visitFloat(dtype, [&]<class T>(TypeTag<T>) {
      eachTable<1>(
          tensors, dtype, [&](size_t i, int) -> void* { return tensors[i].memory; },
          [&](const TensorTable<1>& table) {
            launch(squaresOfChunks<T>, table.chunks, kChunkThreads, 0, stream(), table, to);
            to += table.chunks;
          });
    });
  launch(normOfChunks, 1, kOneBlock, 0, stream(), squares.as<double>(), chunks, most, norm, factor);
}

void globalNormCuda(const Call<ops::ClipNorm>& c) {
  const InMemory tensors(c.in);
  normOf(tensors.views(), c.attrs.maxNorm, c.out[0].as<float>(), c.out[1].as<double>());
}

void clipNormCuda(const Call<ops::ClipNorm>& c) {
  const InMemory tensors(c.in);
  const Scratch factor(sizeof(double));
  normOf(tensors.views(), c.attrs.maxNorm, c.out.back().as<float>(), factor.as<double>());
  for (const DType dtype : kFloats)
    visitFloat(dtype, [&]<class T>(TypeTag<T>) {
      eachTable<2>(
          tensors.views(), dtype,
          [&](size_t i, int k) -> void* { return k == 0 ? tensors.views()[i].memory : c.out[i].memory; },
          [&](const TensorTable<2>& table) {
            launch(scaleChunks<T>, table.chunks, kChunkThreads, 0, stream(), table, factor.as<double>());
          });
    });
}

const Implement<ops::ClipNorm> globalNormOnCuda("globalNorm", DeviceType::Cuda, globalNormCuda);
const Implement<ops::ClipNorm> clipNormOnCuda("clipByGlobalNorm", DeviceType::Cuda, clipNormCuda);

}  // namespace
}  // namespace anneal::cuda
