#include "columns.h"

#include "device.h"

namespace anneal::cuda {
namespace {

/// One matrix, or two, which a grid takes side by side.
template <class T>
struct Summed {
  const T* from[2];
  Computed<T>* to[2];
};

template <class T>
__global__ void __launch_bounds__(kWarp* kWarp)
    sumOfColumns(Summed<T> summed, int64_t rows, int64_t columns, int64_t pitch, bool add) {
  using C = Computed<T>;
  const T* const from = blockIdx.y == 0 ? summed.from[0] : summed.from[1];
  C* const to = blockIdx.y == 0 ? summed.to[0] : summed.to[1];
  __shared__ C shared[kWarp][kWarp];
  const int64_t column = int64_t(blockIdx.x) * kWarp + threadIdx.x;
  C sum = 0;
  if (column < columns) {
#pragma unroll 8
    for (int64_t i = threadIdx.y; i < rows; i += kWarp) sum += cpu::convertTo<C>(from[i * pitch + column]);
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= columns) return;
  for (int y = 1; y < kWarp; ++y) sum += shared[y][threadIdx.x];
  to[column] = add ? to[column] + sum : sum;
}

}  // namespace

template <class T>
void sumColumns(const T* from, int64_t rows, int64_t columns, int64_t pitch, bool add, Computed<T>* to) {
  if (columns == 0) return;
  launch(sumOfColumns<T>, blocksFor(columns, kWarp), dim3(kWarp, kWarp), 0, stream(), Summed<T>{{from}, {to}}, rows,
         columns, pitch, add);
}

template <class C>
void sumBothPieces(const C* a, const C* b, int64_t count, int64_t columns, C* ofA, C* ofB) {
  if (columns == 0) return;
  launch(sumOfColumns<C>, dim3(blocksFor(columns, kWarp), 2), dim3(kWarp, kWarp), 0, stream(),
         Summed<C>{{a, b}, {ofA, ofB}}, count, columns, columns, false);
}
template void sumBothPieces(const float*, const float*, int64_t, int64_t, float*, float*);
template void sumBothPieces(const double*, const double*, int64_t, int64_t, double*, double*);
template void sumColumns(const float*, int64_t, int64_t, int64_t, bool, float*);
template void sumColumns(const double*, int64_t, int64_t, int64_t, bool, double*);
template void sumColumns(const Half*, int64_t, int64_t, int64_t, bool, float*);
template void sumColumns(const BFloat16*, int64_t, int64_t, int64_t, bool, float*);

}  // namespace anneal::cuda
