#pragma once
#include <memory>
#include <mutex>

#include "runtime/device.h"

namespace anneal {

/// Memory that the programs of a device use one after the other, in the order of its stream. It stays between runs, so
/// that recordings find it where it was, and goes with the last program.
class Arena {
 public:
  static std::shared_ptr<Arena> of(Device& device);
  explicit Arena(Device& device) : device_(device) {}
  /// At least `bytes`, elsewhere where there was less so far; to be held until the run that uses it is queued.
  Ref<Block> take(size_t bytes);

 private:
  Device& device_;
  std::mutex mutex_;  // environments share devices
  Ref<Block> block_;
};

}  // namespace anneal
