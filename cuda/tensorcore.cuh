#pragma once
// Instructions of warps for products of 16-bit floats, from compute capability 8.0 on; see the PTX ISA on mma.m16n8k16,
// ldmatrix and cp.async for how a warp's lanes hold a matrix.
#include "core/dtype.h"
#include "launch.h"
#include "warp.h"

#if defined(ANNEAL_CUDA_EMULATE)
#include "emulate/tensorcore.h"
#endif

namespace anneal::cuda {

#if defined(ANNEAL_CUDA_EMULATE)

using SharedAddress = const std::byte*;
inline SharedAddress sharedAddress(const void* at) { return static_cast<const std::byte*>(at); }
inline void loadMatrices(uint32_t (&to)[4], SharedAddress row) { emulate::loadMatrices(to, row, false); }
inline void loadTransposed(uint32_t (&to)[4], SharedAddress row) { emulate::loadMatrices(to, row, true); }
template <class T>
void multiplyAdd(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulate::multiplyAdd<T>(c, a, b0, b1);
}
inline void copyAsync(void* to, const void* from, bool inside) { emulate::copyLater(to, inside ? from : nullptr); }
inline void commitCopies() { emulate::commitCopies(); }
template <int Pending>
void waitCopies() {
  emulate::waitCopies(Pending);
}
inline float exp2Fast(float x) { return std::exp2(x); }
template <class T>
uint32_t packPair(float low, float high) {
  if constexpr (std::is_same_v<T, Half>) return toHalf(low).bits | uint32_t(toHalf(high).bits) << 16;
  else return toBFloat16(low).bits | uint32_t(toBFloat16(high).bits) << 16;
}

#else

/// Where something lies in the shared memory of the block.
using SharedAddress = uint32_t;
__device__ __forceinline__ SharedAddress sharedAddress(const void* at) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}

/// Four matrices of 8 x 8: lane i gives the address of row i % 8 of matrix i / 8, 16 bytes, and gets of each matrix the
/// elements 2 (i % 4) and 2 (i % 4) + 1 of row i / 4.
__device__ __forceinline__ void loadMatrices(uint32_t (&to)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row));
}
/// The same of the transposed matrices.
__device__ __forceinline__ void loadTransposed(uint32_t (&to)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row));
}

/// c += A B, of 16 x 16 and 16 x 8 elements. Lane i has of A the rows i / 4 and i / 4 + 8 at columns 2 (i % 4), 2 (i %
/// 4) + 1 in a[0], a[1], and those 8 further in a[2], a[3]; of B the column i / 4 at the same rows, in b0 and b1; of c
/// the rows i / 4 (c[0], c[1]) and i / 4 + 8 at columns 2 (i % 4) and 2 (i % 4) + 1.
template <class T>
__device__ __forceinline__ void multiplyAdd(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same_v<T, Half>)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Starts to copy 16 bytes, at multiples of 16, from the device's to shared memory; zeros where not `inside`.
__device__ __forceinline__ void copyAsync(void* to, const void* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress(to)), "l"(from), "r"(inside ? 16 : 0)
               : "memory");
}
/// What a thread has started since the last call becomes a group.
__device__ __forceinline__ void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits for the groups of this thread but the last `Pending`; others see them after a barrier.
template <int Pending>
__device__ __forceinline__ void waitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

/// 2^x to about 22 bits; results below 2^-126 are 0.
__device__ __forceinline__ float exp2Fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Two floats as T, `low` in the lower half.
template <class T>
__device__ __forceinline__ uint32_t packPair(float low, float high) {
  uint32_t pair;
  if constexpr (std::is_same_v<T, Half>) asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  else asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

#endif

/// A matrix in shared memory of rows of D 16-bit elements, D a multiple of 64. The 16-byte parts of a row change places
/// by the row's number, so that the same part of 8 rows lies in all 32 banks.
template <class T, int D>
struct SharedRows {
  T* data;

  __device__ __forceinline__ T* part(int row, int part) const { return data + row * D + (part ^ (row & 7)) * 8; }
  __device__ __forceinline__ SharedRows from(int row) const { return {data + row * D}; }  // a multiple of 8
};

/// Where a lane reads in SharedRows: in the row that it has among 16, `part` taken with the places' permutation.
template <int D>
struct LaneRows {
  SharedAddress row;
  uint32_t part;

  template <class T>
  __device__ __forceinline__ LaneRows(const SharedRows<T, D>& rows, int row, int part)
      : row(sharedAddress(rows.data + row * D)), part(uint32_t(part ^ (row & 7)) * 16) {}
  /// In the rows from 16 i on, 16 elements from 16 k on. The permutation is one of each 64 elements: what is added for
  /// the others is a part of the instruction, not an address to be kept.
  __device__ __forceinline__ SharedAddress at(int i, int k) const {
    return row + (part ^ (uint32_t(k % 4) * 32)) + i * 32 * D + k / 4 * 128;
  }
};

__device__ __forceinline__ int laneNumber() { return int(threadIdx.x) % kWarp; }

/// sum[m][n] = the products of rows of `a` (16 M of them) with rows of `b` (8 N), over D columns.
template <class T, int D, int M, int N>
__device__ __forceinline__ void multiplyRows(float (&sum)[M][N][4], const SharedRows<T, D>& a,
                                             const SharedRows<T, D>& b) {
  const int lane = laneNumber();
  const LaneRows<D> left(a, lane % 16, lane / 16), right(b, lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[m][n][i] = 0;
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
    uint32_t rows[M][4];
#pragma unroll
    for (int m = 0; m < M; ++m) loadMatrices(rows[m], left.at(m, k));
#pragma unroll
    for (int n = 0; n < N / 2; ++n) {
      uint32_t columns[4];
      loadMatrices(columns, right.at(n, k));
#pragma unroll
      for (int m = 0; m < M; ++m) {
        multiplyAdd<T>(sum[m][2 * n], rows[m], columns[0], columns[1]);
        multiplyAdd<T>(sum[m][2 * n + 1], rows[m], columns[2], columns[3]);
      }
    }
  }
}

/// sum[m][d] += `weights` (16 M x 16 K, in fragments) times 16 K rows of `b`.
template <class T, int D, int M, int K>
__device__ __forceinline__ void addWeighted(float (&sum)[M][D / 8][4], const uint32_t (&weights)[M][K][4],
                                            const SharedRows<T, D>& b) {
  const int lane = laneNumber();
  const LaneRows<D> right(b, lane % 16, lane / 16);
#pragma unroll
  for (int k = 0; k < K; ++k)
#pragma unroll
    for (int d = 0; d < D / 16; ++d) {
      uint32_t columns[4];
      loadTransposed(columns, right.at(k, d));
#pragma unroll
      for (int m = 0; m < M; ++m) {
        multiplyAdd<T>(sum[m][2 * d], weights[m][k], columns[0], columns[1]);
        multiplyAdd<T>(sum[m][2 * d + 1], weights[m][k], columns[2], columns[3]);
      }
    }
}

/// Results of products as a left factor's fragments: what lanes hold of both lies in the same places.
template <class T, int M, int N>
__device__ __forceinline__ void packWeights(uint32_t (&to)[M][N / 2][4], const float (&from)[M][N][4]) {
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int k = 0; k < N / 2; ++k) {
      to[m][k][0] = packPair<T>(from[m][2 * k][0], from[m][2 * k][1]);
      to[m][k][1] = packPair<T>(from[m][2 * k][2], from[m][2 * k][3]);
      to[m][k][2] = packPair<T>(from[m][2 * k + 1][0], from[m][2 * k + 1][1]);
      to[m][k][3] = packPair<T>(from[m][2 * k + 1][2], from[m][2 * k + 1][3]);
    }
}

/// The rows and columns that lanes hold of results.
struct LanePlace {
  int row = laneNumber() / 4, column = laneNumber() % 4 * 2;
  __device__ __forceinline__ int rowOf(int m, int i) const { return 16 * m + row + i / 2 * 8; }
  __device__ __forceinline__ int columnOf(int n, int i) const { return 8 * n + column + i % 2; }
};

}  // namespace anneal::cuda
