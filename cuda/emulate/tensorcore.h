#pragma once
// What cuda/tensorcore.cuh has of a GPU's instructions, computed by the fibers of a warp: the layouts of fragments are
// those of the PTX ISA's sections on mma.m16n8k16 and ldmatrix.
#include <cstdint>
#include <cstring>

#include "core/dtype.h"
#include "cuda_runtime.h"

namespace anneal::emulate {

/// Gives what all threads of the warp bring, lane by lane, until the next syncWarp.
const uint64_t* bring(uint64_t value);

/// A copy of 16 bytes to shared memory that comes about when it is waited for; until then NaN lies there. `from` null:
/// zeros.
void copyLater(void* to, const void* from);
void commitCopies();
/// Waits for all but the `pending` latest groups of this thread.
void waitCopies(int pending);

constexpr uint32_t kWholeWarp = 0xffffffffu;

template <class T>
const T& broughtBy(const uint64_t* all, int lane) {
  return *reinterpret_cast<const T*>(all[lane]);
}

/// 4 matrices of 8 x 8: lane i has brought the address of row i % 8 of matrix i / 8.
inline void loadMatrices(uint32_t (&to)[4], const std::byte* row, bool transposed) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) misuse("ldmatrix: a row does not begin at a multiple of 16 bytes");
  const uint64_t* all = bring(reinterpret_cast<uint64_t>(row));
  const int lane = emulate::lane(), own = lane / 4, pair = lane % 4 * 2;
  for (int i = 0; i < 4; ++i) {
    for (int half = 0; half < 2; ++half) {
      const int r = transposed ? pair + half : own, c = transposed ? own : pair + half;
      uint16_t element = 0;
      std::memcpy(&element, reinterpret_cast<const std::byte*>(all[i * 8 + r]) + size_t(c) * 2, 2);
      to[i] = half == 0 ? element : to[i] | uint32_t(element) << 16;
    }
    uint32_t banks = 0;  // rows of 16 bytes that share their four banks are read one after the other
    for (int r = 0; r < 8; ++r) banks |= 1u << (all[i * 8 + r] / 16 % 8);
    if (banks != 0xff) misuse("ldmatrix: rows lie in the same banks");
  }
  syncWarp(kWholeWarp);
}

struct Factors {
  uint32_t a[4], b[2];
};

template <class T>
float half(uint32_t pair, int which) {
  return toFloat(T{uint16_t(pair >> 16 * which)});
}

/// c += A B, of 16 x 16 and 16 x 8 elements.
template <class T>
void multiplyAdd(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const Factors mine{{a[0], a[1], a[2], a[3]}, {b0, b1}};
  const uint64_t* all = bring(reinterpret_cast<uint64_t>(&mine));
  const int lane = emulate::lane();
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      const int place = k % 8 / 2;
      const Factors &left = broughtBy<Factors>(all, row % 8 * 4 + place),
                    &right = broughtBy<Factors>(all, column * 4 + place);
      c[i] += half<T>(left.a[row / 8 + k / 8 * 2], k % 2) * half<T>(right.b[k / 8], k % 2);
    }
  }
  syncWarp(kWholeWarp);
}

}  // namespace anneal::emulate
