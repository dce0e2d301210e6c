// What follows a product, in a pass of its own.
#include "epilogue.cuh"

#include <cstdlib>

#include "device.h"
#include "index.h"
#include "rows.cuh"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;

/// Packs of N elements, which are aligned; the last may not be full.
template <class T, int N>
__global__ void __launch_bounds__(kThreads) finishElements(Epilogue e, const T* from, T* to, int64_t n) {
  const int64_t begin = threadNumber() * N;
  if (begin + N > n) {
    for (int64_t i = begin; i < n; ++i) finishElement(e, from, to, i);
    return;
  }
  using P = Pack<T, N>;
  const auto load = [&](const void* at) { return *reinterpret_cast<const P*>(static_cast<const T*>(at) + begin); };
  const P product = load(from), residual = e.residual ? load(e.residual) : product,
          other = e.other ? load(e.other) : product;
  P before, result;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const Finished<T> value = finished(e, product.v[i], residual.v[i], other.v[i]);
    before.v[i] = value.before;
    result.v[i] = value.result;
  }
  if (e.before) *reinterpret_cast<P*>(static_cast<T*>(e.before) + begin) = before;
  *reinterpret_cast<P*>(to + begin) = result;
}

}  // namespace

void finishProduct(DType dtype, const void* from, void* to, const Epilogue& e, int64_t n) {
  if (n == 0) return;
  visitFloat(dtype, [&]<class T>(TypeTag<T>) {
    constexpr int N = 16 / sizeof(T);
    const bool packs = aligned(from) && aligned(to) && aligned(e.residual) && aligned(e.before) && aligned(e.other);
    const int each = packs ? N : 1;
    launch(packs ? finishElements<T, N> : finishElements<T, 1>, blocksFor(n, int64_t(kThreads) * each), kThreads, 0,
           stream(), e, static_cast<const T*>(from), static_cast<T*>(to), n);
  });
}

bool choosesApart() {
  const char* chosen = std::getenv("ANNEAL_CUDA_EPILOGUES");
  return chosen && *chosen == '0';
}

}  // namespace anneal::cuda
