#include "core/ref.h"

#include <array>
#include <cstdint>
#include <new>

#include "core/access.h"

namespace anneal {
namespace {

constexpr size_t kStep = 16, kSizes = 32;
constexpr uint32_t kMost = 1 << 18;  // kept of one size; a thread that only frees must not hoard

struct Free {
  Free* next;
};

/// A thread's freed memory by size. Finalizers free objects by the ten thousand; a general allocator would merge their
/// memory, and split it again for the next ones.
struct Cache {
  std::array<Free*, kSizes> first;
  std::array<uint32_t, kSizes> count;
  bool watched, closed;
};
constinit thread_local Cache cache{};

/// Gives the memory back when its thread ends. The cache itself has no destructor: objects may be freed even later.
struct Janitor {
  ~Janitor() {
    cache.closed = true;
    for (Free*& first : cache.first)
      while (first) ::operator delete(std::exchange(first, first->next));
  }
};

constexpr bool kRecycle = !kTracksAccess;  // the sanitizer must see what is freed

}  // namespace

void* RefCounted::operator new(size_t bytes) {
  const size_t size = (bytes - 1) / kStep;
  if (!kRecycle || size >= kSizes) return ::operator new(bytes);
  Free*& first = cache.first[size];
  if (!first) return ::operator new((size + 1) * kStep);
  --cache.count[size];
  return std::exchange(first, first->next);
}

void RefCounted::operator delete(void* memory, size_t bytes) {
  const size_t size = (bytes - 1) / kStep;
  if (!kRecycle || size >= kSizes || cache.closed || cache.count[size] == kMost) return ::operator delete(memory);
  if (!cache.watched) {
    thread_local Janitor janitor;
    cache.watched = true;
  }
  ++cache.count[size];
  cache.first[size] = new (memory) Free{cache.first[size]};
}

}  // namespace anneal
