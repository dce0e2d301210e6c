// Conversions of many tensors at once.
#include "op/define.h"
#include "tensors.cuh"

namespace anneal::cuda {
namespace {

constexpr int kTogether = 8;  // floats that a thread rounds at a time: two accesses become one

/// Arrays: from, to.
template <class T>
__global__ void __launch_bounds__(kChunkThreads) roundAll(TensorTable<2> table) {
  const auto& e = table.entries[table.find(blockIdx.x)];
  eachOfChunk<kTogether>(e, [&]<int N>(Run<N>, int64_t at) {
    const auto* from = static_cast<const float*>(e.arrays[0]) + at;
    Pack<T, N> made;
    if constexpr (N == kTogether) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const auto pack = reinterpret_cast<const Pack<float, N / 2>*>(from)[half];
#pragma unroll
        for (int i = 0; i < N / 2; ++i) made.v[half * (N / 2) + i] = cpu::convertTo<T>(pack.v[i]);
      }
      storePack(static_cast<T*>(e.arrays[1]) + at, made);
    } else {
      static_cast<T*>(e.arrays[1])[at] = cpu::convertTo<T>(*from);
    }
  });
}

void castAllCuda(const Call<None>& call) {
  visitFloat(call.out[0].dtype, [&]<class T>(TypeTag<T>) {
    if constexpr (sizeof(T) == 2)
      eachTable<2>(
          call.out, call.out[0].dtype, [&](size_t i, int k) -> void* { return (k ? call.out : call.in)[i].memory; },
          [&](const TensorTable<2>& table) { launch(roundAll<T>, table.chunks, kChunkThreads, 0, stream(), table); });
  });
}
const Implement<None> castAllOnCuda("castAll", DeviceType::Cuda, castAllCuda);

}  // namespace
}  // namespace anneal::cuda
