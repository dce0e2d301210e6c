// Kernels whose accesses are watched are compiled with ThreadSanitizer's instrumentation. It calls these functions
// instead of that library's, which knows nothing of blocks and warps.
#if defined(ANNEAL_EMULATE_RACES)
#include <cstdint>

#include "cuda_runtime.h"
#include "races.h"

using anneal::emulate::Access;
using anneal::emulate::touch;

void anneal::emulate::touchAtomically(const void* at, size_t bytes) {
  touch(at, bytes, Access::Atomic, __builtin_return_address(0));
}

#define WATCH(name, size)                                                                                    \
  void __tsan_read##name(void* at) { touch(at, size, Access::Read, __builtin_return_address(0)); }           \
  void __tsan_write##name(void* at) { touch(at, size, Access::Write, __builtin_return_address(0)); }         \
  void __tsan_unaligned_read##name(void* at) { touch(at, size, Access::Read, __builtin_return_address(0)); } \
  void __tsan_unaligned_write##name(void* at) { touch(at, size, Access::Write, __builtin_return_address(0)); }

// Of host code in the same files.
#define ATOMICS(bits)                                                                         \
  uint##bits##_t __tsan_atomic##bits##_load(const uint##bits##_t* at, int) {                  \
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                             \
  }                                                                                           \
  void __tsan_atomic##bits##_store(uint##bits##_t* at, uint##bits##_t v, int) {               \
    __atomic_store_n(at, v, __ATOMIC_SEQ_CST);                                                \
  }                                                                                           \
  uint##bits##_t __tsan_atomic##bits##_exchange(uint##bits##_t* at, uint##bits##_t v, int) {  \
    return __atomic_exchange_n(at, v, __ATOMIC_SEQ_CST);                                      \
  }                                                                                           \
  uint##bits##_t __tsan_atomic##bits##_fetch_add(uint##bits##_t* at, uint##bits##_t v, int) { \
    return __atomic_fetch_add(at, v, __ATOMIC_SEQ_CST);                                       \
  }                                                                                           \
  uint##bits##_t __tsan_atomic##bits##_fetch_sub(uint##bits##_t* at, uint##bits##_t v, int) { \
    return __atomic_fetch_sub(at, v, __ATOMIC_SEQ_CST);                                       \
  }

extern "C" {
WATCH(1, 1)
WATCH(2, 2)
WATCH(4, 4)
WATCH(8, 8)
WATCH(16, 16)
ATOMICS(8)
ATOMICS(32)
ATOMICS(64)
void __tsan_read_range(void* at, size_t bytes) { touch(at, bytes, Access::Read, __builtin_return_address(0)); }
void __tsan_write_range(void* at, size_t bytes) { touch(at, bytes, Access::Write, __builtin_return_address(0)); }
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
}
#endif
