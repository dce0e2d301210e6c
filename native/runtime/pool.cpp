#include "runtime/pool.h"

#include <algorithm>
#include <bit>

namespace anneal {
namespace {

constexpr size_t kLarge = size_t(1) << 20;
constexpr size_t kHugePage = size_t(1) << 21;

/// Eight sizes to each power of two, and whole huge pages from 1 MiB on: few sizes meet again more often.
size_t roundUp(size_t bytes) {
  if (bytes <= 64) return 64;
  size_t step = bytes >= kLarge ? kHugePage : std::max<size_t>(std::bit_floor(bytes) / 8, 64);
  return (bytes + step - 1) / step * step;
}

/// How much larger than asked a reused block may be.
size_t tolerated(size_t bytes) { return bytes >= kLarge ? bytes + bytes / 4 : bytes * 2; }

std::string megabytes(size_t bytes) {
  std::ostringstream out;
  out.precision(4);
  out << double(bytes) / 1048576.0 << " MiB";
  return out.str();
}

}  // namespace

Block* Pool::allocate(const Spec& spec, bool hostWrites) {
  size_t bytes = roundUp(size_t(spec.size()) * itemSize(spec.dtype));
  std::unique_lock lock(mutex_);
  Block* block = reuse(bytes, hostWrites);
  if (!block) block = create(bytes);
  if (!block) {
    // What is pooled may still be in use by queued tasks: let them pass, give it back, and try once more. The lock is open
    // meanwhile, because those tasks may release memory themselves.
    lock.unlock();
    source_.synchronize();
    lock.lock();
    trimLocked();
    block = create(bytes);
  }
  if (!block) failOutOfMemory(spec, bytes);
  block->spec = spec;
  stats_.used += block->capacity;
  stats_.peak = std::max(stats_.peak, stats_.used);
  ++stats_.blocks;
  return block;
}

Block* Pool::reuse(size_t bytes, bool hostWrites) {
  uint64_t completed = hostWrites ? source_.completed() : 0;
  for (auto it = free_.lower_bound(bytes); it != free_.end() && it->first <= tolerated(bytes); ++it) {
    if (hostWrites && it->second->freedAt > completed) continue;
    Block* block = it->second.get();
    auto node = std::move(it->second);
    free_.erase(it);
    live_.emplace(block, std::move(node));
    stats_.pooled -= block->capacity;
    return block;
  }
  return nullptr;
}

Block* Pool::create(size_t bytes) {
  if (stats_.limit && stats_.used + stats_.pooled + bytes > stats_.limit) trimLocked();
  if (stats_.limit && stats_.used + stats_.pooled + bytes > stats_.limit) return nullptr;
  std::byte* data = source_.allocate(bytes);
  if (!data) return nullptr;
  ++stats_.misses;
  auto block = std::make_unique<Block>();
  block->data = data;
  block->capacity = bytes;
  Block* raw = block.get();
  live_.emplace(raw, std::move(block));
  return raw;
}

void Pool::release(Block* block) {
  std::lock_guard lock(mutex_);
  auto found = live_.find(block);
  block->freedAt = source_.submitted();
  stats_.used -= block->capacity;
  stats_.pooled += block->capacity;
  --stats_.blocks;
  free_.emplace(block->capacity, std::move(found->second));
  live_.erase(found);
}

MemoryStats Pool::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void Pool::resetPeak() {
  std::lock_guard lock(mutex_);
  stats_.peak = stats_.used;
}

void Pool::setLimit(size_t bytes) {
  std::lock_guard lock(mutex_);
  stats_.limit = bytes;
}

void Pool::trim() {
  source_.synchronize();
  std::lock_guard lock(mutex_);
  trimLocked();
}

void Pool::trimLocked() {
  uint64_t completed = source_.completed();
  for (auto it = free_.begin(); it != free_.end();) {
    if (it->second->freedAt > completed) {
      ++it;
      continue;
    }
    source_.free(it->second->data, it->first);
    stats_.pooled -= it->first;
    it = free_.erase(it);
  }
}

void Pool::failOutOfMemory(const Spec& spec, size_t bytes) {
  std::vector<const Block*> largest;
  for (auto& [block, owner] : live_) largest.push_back(block);
  size_t shown = std::min<size_t>(5, largest.size());
  std::partial_sort(largest.begin(), largest.begin() + int64_t(shown), largest.end(),
                    [](auto* a, auto* b) { return a->capacity > b->capacity; });
  std::ostringstream list;
  for (size_t i = 0; i < shown; ++i)
    list << (i ? ", " : "") << largest[i]->spec << " (" << megabytes(largest[i]->capacity) << ")";
  fail(Code::Memory, "out of memory: ", spec, " needs ", megabytes(bytes), "; ", megabytes(stats_.used),
       " are in use by ", stats_.blocks, " tensors, the limit is ",
       stats_.limit ? megabytes(stats_.limit) : std::string("what the system gives"),
       shown ? "; the largest live tensors: " + list.str() : std::string(),
       ". Dispose of tensors, use smaller batches, or raise the limit with setMemoryLimit");
}

}  // namespace anneal
