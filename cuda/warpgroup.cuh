#pragma once
// Instructions of groups of 4 warps for products of 16-bit floats, of compute capability 9.0 alone (compiled for
// sm_90a); see the PTX ISA on wgmma.mma_async, its matrix descriptors and its layouts in shared memory.
#include "tensorcore.cuh"

#if defined(ANNEAL_CUDA_EMULATE)
#include "emulate/warpgroup.h"
#endif
#if defined(ANNEAL_CUDA_EMULATE) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define ANNEAL_WARPGROUPS  // kernels have a body
#endif

namespace anneal::cuda {

constexpr int kGroup = 4 * kWarp;
constexpr int kPanel = 64, kPanelBytes = 128;  // elements and bytes of a panel's row
constexpr int kSwizzleBytes = 1024;            // of 8 rows, after which the permutation repeats

/// A matrix in shared memory of Rows rows, as panels of 64 columns one after the other. The 16-byte parts of a panel's
/// row change places by the row's number: the layout that descriptors call the 128-byte swizzle, which depends on the
/// address. So panels begin at multiples of 1024 bytes.
template <class T, int Rows>
struct Panels {
  static_assert(Rows % 8 == 0);
  static constexpr int kBytes = Rows * kPanelBytes;  // from one panel to the next
  T* data;

  __device__ __forceinline__ T* part(int row, int part) const {
    return SharedRows<T, kPanel>{data + part / 8 * (Rows * kPanel)}.part(row, part % 8);
  }
};

#if defined(ANNEAL_CUDA_EMULATE)

inline uint64_t addressBits(const void* shared) { return reinterpret_cast<uint64_t>(shared); }
inline void fenceAsync() { emulate::fenceAsync(); }
inline void fenceOperands() { emulate::fenceOperands(); }
inline void commitProducts() { emulate::commitProducts(); }
template <int Pending>
void waitProducts() {
  emulate::waitProducts(Pending);
}
inline void settle(const float&) {}
inline void computeBefore(float, const void*) {}
inline void settle(const uint32_t&) {}
template <class T>
float elementOf(uint16_t bits) {
  return toFloat(T{bits});
}
template <class T, bool Accumulate, bool Transposed, int N>
void multiplyShared(float (&c)[N][4], uint64_t a, uint64_t b) {
  emulate::multiplyLater({c, 8 * N, Accumulate, nullptr, a, b, Transposed, elementOf<T>});
}
template <class T, bool Accumulate, bool Transposed, int N>
void multiplyRegisters(float (&c)[N][4], const uint32_t (&a)[4], uint64_t b) {
  emulate::multiplyLater({c, 8 * N, Accumulate, a, 0, b, Transposed, elementOf<T>});
}

#else

__device__ __forceinline__ uint64_t addressBits(const void* shared) { return sharedAddress(shared); }

/// What this thread has written to shared memory, by cp.async too, is seen by products that are started after a
/// barrier.
__device__ __forceinline__ void fenceAsync() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/// Between what a thread does with registers and products that use them.
__device__ __forceinline__ void fenceOperands() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// The products that were started since the last call become a group.
__device__ __forceinline__ void commitProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits for the groups but the last `Pending`.
template <int Pending>
__device__ __forceinline__ void waitProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}
/// The compiler moves no use of the register across this.
__device__ __forceinline__ void settle(float& value) { asm volatile("" : "+f"(value)::"memory"); }
__device__ __forceinline__ void settle(uint32_t& value) { asm volatile("" : "+r"(value)::"memory"); }

/// What follows, waiting for products above all, is not moved in front of what `value` is computed of, as the compiler
/// would: to it that is free to come later. A store that depends on it and is never made: no arithmetic gives this NaN.
__device__ __forceinline__ void computeBefore(float value, const void* shared) {
  asm volatile("{.reg .pred never; setp.eq.b32 never, %0, 0x7fc0dead; @never st.shared.b32 [%1], %0;}" ::"r"(
                   __float_as_uint(value)),
               "r"(sharedAddress(shared))
               : "memory");
}

#define ANNEAL_ROW(i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define ANNEAL_ROWS_8(i)                                                                                        \
  ANNEAL_ROW(i), ANNEAL_ROW(i + 1), ANNEAL_ROW(i + 2), ANNEAL_ROW(i + 3), ANNEAL_ROW(i + 4), ANNEAL_ROW(i + 5), \
      ANNEAL_ROW(i + 6), ANNEAL_ROW(i + 7)
#define ANNEAL_NAMES_32                                                                                            \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31"
#define ANNEAL_NAMES_64                                                                                              \
  ANNEAL_NAMES_32                                                                                                    \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, " \
  "%54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define ANNEAL_WGMMA(n, type) "wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type
#define ANNEAL_SHARED_64(type)                                                                 \
  asm volatile(ANNEAL_WGMMA("64", type) " {" ANNEAL_NAMES_32 "}, %32, %33, %34, 1, 1, 0, %35;" \
               : ANNEAL_ROWS_8(0)                                                              \
               : "l"(a), "l"(b), "n"(int(Accumulate)), "n"(int(Transposed)))
#define ANNEAL_SHARED_128(type)                                                                 \
  asm volatile(ANNEAL_WGMMA("128", type) " {" ANNEAL_NAMES_64 "}, %64, %65, %66, 1, 1, 0, %67;" \
               : ANNEAL_ROWS_8(0), ANNEAL_ROWS_8(8)                                             \
               : "l"(a), "l"(b), "n"(int(Accumulate)), "n"(int(Transposed)))
#define ANNEAL_REGISTERS_64(type)                                                                            \
  asm volatile(ANNEAL_WGMMA("64", type) " {" ANNEAL_NAMES_32 "}, {%32, %33, %34, %35}, %36, %37, 1, 1, %38;" \
               : ANNEAL_ROWS_8(0)                                                                            \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(int(Accumulate)), "n"(int(Transposed)))
#define ANNEAL_REGISTERS_128(type)                                                                            \
  asm volatile(ANNEAL_WGMMA("128", type) " {" ANNEAL_NAMES_64 "}, {%64, %65, %66, %67}, %68, %69, 1, 1, %70;" \
               : ANNEAL_ROWS_8(0), ANNEAL_ROWS_8(8)                                                           \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(int(Accumulate)), "n"(int(Transposed)))

/// Starts c = A B (or += with Accumulate), of 64 x 16 and 16 x 8 N elements, for the 4 warps of a group. Warp i has of
/// c the rows from 16 i on, in fragments as those of multiplyAdd: c[n] the columns from 8 n on. A is described by rows;
/// B by its columns, or Transposed by its rows. Nothing of c, or of where the factors lie, may be touched before
/// waitProducts.
template <class T, bool Accumulate, bool Transposed, int N>
__device__ __forceinline__ void multiplyShared(float (&c)[N][4], uint64_t a, uint64_t b) {
  static_assert(N == 8 || N == 16);
  constexpr bool kHalf = std::is_same_v<T, Half>;
  if constexpr (N == 8 && kHalf) ANNEAL_SHARED_64("f16");
  else if constexpr (N == 8) ANNEAL_SHARED_64("bf16");
  else if constexpr (kHalf) ANNEAL_SHARED_128("f16");
  else ANNEAL_SHARED_128("bf16");
}
/// The same with A in registers: each warp's 16 rows as multiplyAdd has them.
template <class T, bool Accumulate, bool Transposed, int N>
__device__ __forceinline__ void multiplyRegisters(float (&c)[N][4], const uint32_t (&a)[4], uint64_t b) {
  static_assert(N == 8 || N == 16);
  constexpr bool kHalf = std::is_same_v<T, Half>;
  if constexpr (N == 8 && kHalf) ANNEAL_REGISTERS_64("f16");
  else if constexpr (N == 8) ANNEAL_REGISTERS_64("bf16");
  else if constexpr (kHalf) ANNEAL_REGISTERS_128("f16");
  else ANNEAL_REGISTERS_128("bf16");
}

#endif

template <class T, int M, int N>
__device__ __forceinline__ void settle(T (&values)[M][N][4]) {
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) settle(values[m][n][i]);
}

/// The first address from here on where panels may begin.
template <class T>
__device__ __forceinline__ T* atPanels(T* shared) {
  return shared + (0 - addressBits(shared)) % kSwizzleBytes / sizeof(T);
}

/// Describes a matrix in panels from a row on that is a multiple of 8: its rows are a factor's rows (or, of B,
/// columns), or with `Transposed` B's rows. 8 rows further the permutation repeats; only Transposed reads more than one
/// panel, else what would lead to the next is ignored, and set to 1 as the PTX ISA has it.
template <bool Transposed, class T, int Rows>
__device__ __forceinline__ uint64_t describe(const Panels<T, Rows>& panels, int row) {
  constexpr auto encode = [](uint64_t bytes) { return (bytes & 0x3ffff) >> 4; };
  constexpr uint64_t kLeading = Transposed ? encode(Panels<T, Rows>::kBytes) : 1, kSwizzle128 = uint64_t(1) << 62;
  return encode(addressBits(panels.data + row * kPanel)) | kLeading << 16 | encode(kSwizzleBytes) << 32 | kSwizzle128;
}
/// What is added to a description of panels to move on by 16 k columns.
template <class P>
__device__ __forceinline__ constexpr uint64_t columnsFurther(int k) {
  return uint64_t(k / 4 * P::kBytes + k % 4 * 32) >> 4;
}
/// The same by 16 k rows.
__device__ __forceinline__ constexpr uint64_t rowsFurther(int k) { return uint64_t(k * 16 * kPanelBytes) >> 4; }

/// Starts sum = the products of 64 rows of `a`, from `row` on, with the rows of `b` (8 N), over D columns.
template <class T, int D, int RowsA, int RowsB>
__device__ __forceinline__ void multiplyPanels(float (&sum)[RowsB / 8][4], const Panels<T, RowsA>& a, int row,
                                               const Panels<T, RowsB>& b) {
  const uint64_t left = describe<false>(a, row), right = describe<false>(b, 0);
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
    const uint64_t l = left + columnsFurther<Panels<T, RowsA>>(k), r = right + columnsFurther<Panels<T, RowsB>>(k);
    if (k == 0) multiplyShared<T, false, false>(sum, l, r);
    else multiplyShared<T, true, false>(sum, l, r);
  }
}

/// Starts sum += `weights` (64 x Rows, in fragments) times the rows of `b`.
template <class T, int N, int Rows>
__device__ __forceinline__ void addWeightedPanels(float (&sum)[N][4], const uint32_t (&weights)[Rows / 16][4],
                                                  const Panels<T, Rows>& b) {
  const uint64_t right = describe<true>(b, 0);
#pragma unroll
  for (int k = 0; k < Rows / 16; ++k)
    multiplyRegisters<T, true, true>(sum, weights[k], right + rowsFurther(k));
}

}  // namespace anneal::cuda
