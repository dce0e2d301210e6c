#pragma once
// What kernels for norms with chains around them are made of, beside fused.cuh: they are written by generate_norms.cu.
#include "fused.cuh"
#include "norms.cuh"

namespace anneal::cuda {

/// Reads what `read` does, in runs of N, for the packs that a thread has of a row of n, before any of it is used.
template <class T, int N, int P, class R, class V>
__device__ __forceinline__ void readHeld(int64_t row, int64_t n, bool whole, R&& read, V (&to)[P][kPack<T> / N]) {
  const auto all = [&](bool packs) {
#pragma unroll
    for (int p = 0; p < P; ++p) {
#pragma unroll
      for (int k = 0; k < kPack<T> / N; ++k) to[p][k] = read(row * n + Held<T, P>::inside(p, int(n)) + k * N, N, packs);
    }
  };
  if (whole) all(true);
  else all(false);
}

}  // namespace anneal::cuda
