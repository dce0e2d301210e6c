#pragma once
#include <span>

#include "core/dtype.h"
#include "runtime/device.h"

namespace anneal {

/// What one device brings to a sum over several, and the block that gets the result, from its beginning on.
struct Share {
  Device* device;
  Ref<Block> source;
  const std::byte* from;  // in `source`
  Ref<Block> target;
};

/// How devices of a backend add up what they hold among themselves. Its library offers it when it is loaded.
struct Collectives {
  bool (*serve)();  // whether they can, as things are now
  /// Puts the sum of `count` elements of all shares, or their mean, into the target of each, in the order of all their
  /// streams, without waiting. The shares' devices differ. A fault of one share is a fault of all results.
  void (*allReduce)(std::span<const Share> shares, DType dtype, int64_t count, bool mean);
};

void offerCollectives(const Collectives& collectives);
/// What was offered, or null.
const Collectives* collectives();

}  // namespace anneal
