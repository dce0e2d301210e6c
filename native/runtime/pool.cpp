#include "runtime/pool.h"

#include <algorithm>
#include <bit>

namespace anneal {
namespace {

constexpr size_t kLarge = size_t(1) << 20;
constexpr size_t kHugePage = size_t(1) << 21;

/// Eight sizes to each power of two, and sixteen from 1 MiB on, at most a huge page apart: few sizes meet again more
/// often.
size_t roundUp(size_t bytes) {
  if (bytes <= 64) return 64;
  const size_t power = std::bit_floor(bytes);
  size_t step = bytes >= kLarge ? std::min(power / 16, kHugePage) : std::max<size_t>(power / 8, 64);
  return (bytes + step - 1) / step * step;
}

/// How much larger than asked a reused block may be.
size_t toleratedLarge(size_t bytes) { return bytes + bytes / 4; }
constexpr size_t kToleratedSteps = 8;  // sizes of small blocks: twice as large

/// The number of a size that roundUp gives below kLarge: 64, 128, ... 512, then eight to each power of two.
size_t sizeIndex(size_t bytes) {
  if (bytes < 512) return bytes / 64 - 1;
  auto exponent = size_t(std::bit_width(bytes)) - 1;
  return 8 * (exponent - 9) + (bytes >> (exponent - 3)) - 1;
}

std::string megabytes(size_t bytes) {
  std::ostringstream out;
  out.precision(4);
  out << double(bytes) / 1048576.0 << " MiB";
  return out.str();
}

}  // namespace

void Pool::List::push(Entry* entry) {
  entry->before = nullptr;
  entry->after = first;
  (first ? first->before : last) = entry;
  first = entry;
}

void Pool::List::remove(Entry* entry) {
  (entry->before ? entry->before->after : first) = entry->after;
  (entry->after ? entry->after->before : last) = entry->before;
}

Ref<Block> Pool::allocate(const Spec& spec, bool hostWrites) {
  const size_t asked = size_t(spec.size()) * itemSize(spec.dtype), bytes = roundUp(asked);
  std::unique_lock lock(mutex_);
  Entry* block = reuse(bytes, hostWrites);
  if (!block) block = create(bytes);
  if (!block) {
    // What is pooled may still be in use by queued tasks: let them pass, give it back, and try once more. The lock is
    // open meanwhile, because those tasks may release memory themselves.
    lock.unlock();
    source_.synchronize();
    lock.lock();
    trimLocked();
    block = create(bytes);
  }
  if (!block) failOutOfMemory(spec, bytes);
  block->live = true;
  block->bytes = asked;
  block->stamp = 0;
  block->dtype = spec.dtype;
  block->shape = spec.shape;
  stats_.used += block->capacity;
  stats_.peak = std::max(stats_.peak, stats_.used);
  ++stats_.blocks;
  return Ref<Block>(block);
}

Pool::Entry* Pool::reuse(size_t bytes, bool hostWrites) {
  const uint64_t completed = hostWrites ? source_.completed() : 0;
  Entry* entry = bytes < kLarge ? reuseSmall(bytes, hostWrites, completed) : reuseLarge(bytes, hostWrites, completed);
  if (entry) stats_.pooled -= entry->capacity;
  return entry;
}

/// The block released last is the likeliest to be in cache; the one released first is the likeliest to be done with.
Pool::Entry* Pool::reuseSmall(size_t bytes, bool hostWrites, uint64_t completed) {
  const size_t exact = sizeIndex(bytes), end = std::min(exact + kToleratedSteps + 1, kSizes);
  for (size_t i = exact; i < end; ++i) {
    Entry* entry = hostWrites ? small_[i].last : small_[i].first;
    if (!entry || (hostWrites && entry->freedAt > completed)) continue;
    small_[i].remove(entry);
    return entry;
  }
  return nullptr;
}

Pool::Entry* Pool::reuseLarge(size_t bytes, bool hostWrites, uint64_t completed) {
  for (auto it = large_.lower_bound(bytes); it != large_.end() && it->first <= toleratedLarge(bytes); ++it) {
    Entry* entry = it->second;
    if (hostWrites && entry->freedAt > completed) continue;
    large_.erase(it);
    return entry;
  }
  return nullptr;
}

Pool::Entry* Pool::create(size_t bytes) {
  if (stats_.limit && stats_.used + stats_.pooled + bytes > stats_.limit) trimLocked();
  if (stats_.limit && stats_.used + stats_.pooled + bytes > stats_.limit) return nullptr;
  std::byte* data = source_.allocate(bytes);
  if (!data) return nullptr;
  ++stats_.misses;
  auto* entry = new Entry(*this);
  entry->data = data;
  entry->capacity = bytes;
  entry->place = entries_.size();
  entries_.push_back(entry);
  return entry;
}

void Pool::release(Entry* entry) {
  if (source_.released) source_.released(entry->data, entry->capacity);
  std::lock_guard lock(mutex_);
  entry->live = false;
  entry->freedAt = source_.submitted();
  stats_.used -= entry->capacity;
  stats_.pooled += entry->capacity;
  --stats_.blocks;
  if (entry->capacity < kLarge) small_[sizeIndex(entry->capacity)].push(entry);
  else large_.emplace(entry->capacity, entry);
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

void Pool::pin(Block& block) {
  std::lock_guard lock(mutex_);
  ++static_cast<Entry&>(block).pins;
}

void Pool::unpin(Block& block) {
  std::lock_guard lock(mutex_);
  --static_cast<Entry&>(block).pins;
}

void Pool::trimLocked() {
  const uint64_t completed = source_.completed();
  const auto idle = [&](const Entry* entry) { return entry->freedAt <= completed && entry->pins == 0; };
  for (List& list : small_) {
    for (Entry *entry = list.last, *before = nullptr; entry && entry->freedAt <= completed; entry = before) {
      before = entry->before;
      if (!idle(entry)) continue;
      list.remove(entry);
      discard(entry);
    }
  }
  for (auto it = large_.begin(); it != large_.end();) {
    Entry* entry = it->second;
    it = idle(entry) ? (discard(entry), large_.erase(it)) : std::next(it);
  }
}

void Pool::discard(Entry* entry) {
  stats_.pooled -= entry->capacity;
  source_.free(entry->data, entry->capacity);
  entries_[entry->place] = entries_.back();
  entries_[entry->place]->place = entry->place;
  entries_.pop_back();
  delete entry;
}

std::string Pool::largest() const {
  std::lock_guard lock(mutex_);
  return largestLocked();
}

std::string Pool::largestLocked() const {
  std::vector<const Entry*> largest;
  std::copy_if(entries_.begin(), entries_.end(), std::back_inserter(largest), [](auto* e) { return e->live; });
  size_t shown = std::min<size_t>(5, largest.size());
  std::partial_sort(largest.begin(), largest.begin() + int64_t(shown), largest.end(),
                    [](auto* a, auto* b) { return a->capacity > b->capacity; });
  std::ostringstream list;
  for (size_t i = 0; i < shown; ++i)
    list << (i ? ", " : "") << largest[i]->dtype << largest[i]->shape << " (" << megabytes(largest[i]->capacity) << ")";
  return shown ? "; the largest live tensors: " + list.str() : std::string();
}

void Pool::failOutOfMemory(const Spec& spec, size_t bytes) {
  fail(Code::Memory, "out of memory: ", spec, " needs ", megabytes(bytes), "; ", megabytes(stats_.used),
       " are in use by ", stats_.blocks, " tensors, the limit is ",
       stats_.limit ? megabytes(stats_.limit) : std::string("what the system gives"), largestLocked(),
       ". Dispose of tensors, use smaller batches, or raise the limit with setMemoryLimit");
}

}  // namespace anneal
