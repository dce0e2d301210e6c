#pragma once
#include <span>

namespace anneal {

struct Block;

/// A device whose kernels find mistakes in their data after their tasks have ended for the host. It follows what
/// depends on their results: of tasks by itself, of functions as it is told.
class Follower {
 public:
  virtual ~Follower() = default;
  /// Called once by a function that was queued, after it has started its kernels: what they read and write, and what
  /// they write only if none of them finds a mistake.
  virtual void ran(std::span<Block* const> reads, std::span<Block* const> writes, std::span<Block* const> kept) = 0;
};

}  // namespace anneal
