#pragma once
#include <array>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "runtime/device.h"

namespace anneal {

/// Keeps released blocks for reuse, by size. Safe to call from any thread. Lives as long as the process.
class Pool {
 public:
  struct Source {
    std::function<std::byte*(size_t bytes)> allocate;  // nullptr when there is no memory
    std::function<void(std::byte*, size_t bytes)> free;
    std::function<uint64_t()> submitted, completed;  // the stream's progress
    std::function<void()> synchronize;
    std::function<void(std::byte*, size_t bytes)> released;  // if given: hears of blocks that come back
  };
  Pool(Source source, size_t limit) : source_(std::move(source)) { stats_.limit = limit; }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  Ref<Block> allocate(const Spec& spec, bool hostWrites);
  MemoryStats stats() const;
  void resetPeak();
  void setLimit(size_t bytes);
  /// The largest live tensors, for the error of who finds no memory; empty: there are none.
  std::string largest() const;
  /// Returns what is not in use to the operating system.
  void trim();
  /// Keeps memory that was allocated here from being returned, though not from being used again, until unpin().
  void pin(Block& block);
  void unpin(Block& block);

 private:
  struct Entry : Block {
    explicit Entry(Pool& owner) : Block(Kind::Pooled), pool(owner) {}
    void unreferenced() override { pool.release(this); }
    uint64_t freedAt = 0;  // the stream's count of submissions when the block came back
    Pool& pool;
    Entry *before = nullptr, *after = nullptr;  // on a list of free small blocks
    size_t place = 0;                           // in entries_
    bool live = false;
    int pins = 0;
    // Of the tensor it was allocated for, to be named when memory runs out.
    DType dtype = DType::Float32;
    Shape shape;
  };
  struct List {
    Entry *first = nullptr, *last = nullptr;
    void push(Entry* entry);  // in front
    void remove(Entry* entry);
  };
  static constexpr size_t kSizes = 95;  // of small blocks: see sizeIndex

  void release(Entry* entry);
  Entry* reuse(size_t bytes, bool hostWrites);
  Entry* reuseSmall(size_t bytes, bool hostWrites, uint64_t completed);
  Entry* reuseLarge(size_t bytes, bool hostWrites, uint64_t completed);
  Entry* create(size_t bytes);  // nullptr when there is no room
  void trimLocked();            // gives back what no queued task uses
  void discard(Entry* entry);
  std::string largestLocked() const;
  [[noreturn]] void failOutOfMemory(const Spec& spec, size_t bytes);

  Source source_;
  mutable std::mutex mutex_;
  std::array<List, kSizes> small_;  // free, the last released first
  std::multimap<size_t, Entry*> large_;
  std::vector<Entry*> entries_;  // all there are
  MemoryStats stats_;
};

}  // namespace anneal
