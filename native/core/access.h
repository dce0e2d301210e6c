#pragma once
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace anneal {

/// AddressSanitizer knows the bounds of what malloc gave. Of memory that is kept to be handed out again it must be told
/// which bytes may be touched. Other builds do nothing here.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kTracksAccess = true;
inline void allowAccess(const void* memory, size_t bytes) { __asan_unpoison_memory_region(memory, bytes); }
inline void forbidAccess(const void* memory, size_t bytes) { __asan_poison_memory_region(memory, bytes); }
#else
inline constexpr bool kTracksAccess = false;
inline void allowAccess(const void*, size_t) {}
inline void forbidAccess(const void*, size_t) {}
#endif

}  // namespace anneal
