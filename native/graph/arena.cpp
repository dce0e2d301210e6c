#include "graph/arena.h"

#include <map>

namespace anneal {

std::shared_ptr<Arena> Arena::of(Device& device) {
  static std::mutex mutex;
  static std::map<Device*, std::weak_ptr<Arena>> all;
  std::lock_guard lock(mutex);
  auto& known = all[&device];
  auto arena = known.lock();
  if (!arena) known = arena = std::make_shared<Arena>(device);
  return arena;
}

Ref<Block> Arena::take(size_t bytes) {
  std::lock_guard lock(mutex_);
  if (block_ && block_->bytes >= bytes) return block_;
  block_ = {};  // first, so that there is room: runs that are queued use it before its next owner does
  block_ = device_.allocate({{int64_t(bytes)}, DType::UInt8}, false);
  return block_;
}

}  // namespace anneal
