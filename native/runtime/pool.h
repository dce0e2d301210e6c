#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "runtime/device.h"

namespace anneal {

/// Keeps released blocks for reuse, by size. Safe to call from any thread.
class Pool {
 public:
  struct Source {
    std::function<std::byte*(size_t bytes)> allocate;  // nullptr when there is no memory
    std::function<void(std::byte*, size_t bytes)> free;
    std::function<uint64_t()> submitted, completed;  // the stream's progress
    std::function<void()> synchronize;
  };
  Pool(Source source, size_t limit) : source_(std::move(source)) { stats_.limit = limit; }

  Block* allocate(const Spec& spec, bool hostWrites);
  void release(Block* block);
  MemoryStats stats() const;
  void resetPeak();
  void setLimit(size_t bytes);
  /// Returns what is not in use to the operating system.
  void trim();

 private:
  Block* reuse(size_t bytes, bool hostWrites);
  Block* create(size_t bytes);  // nullptr when there is no room
  void trimLocked();  // gives back what no queued task uses
  [[noreturn]] void failOutOfMemory(const Spec& spec, size_t bytes);

  Source source_;
  mutable std::mutex mutex_;
  std::multimap<size_t, std::unique_ptr<Block>> free_;
  std::unordered_map<Block*, std::unique_ptr<Block>> live_;
  MemoryStats stats_;
};

}  // namespace anneal
