#pragma once
#include <cstddef>
#include <memory>
#include <span>

namespace anneal {

class Error;
struct Block;

/// A device whose kernels find mistakes in their data after their tasks have ended for the host. It follows what
/// depends on their results: of tasks by itself, of functions as it is told.
class Follower {
 public:
  /// What gets a value only if no mistake is found; else the old one, which lies at `from`, maybe in `to` itself.
  struct Kept {
    Block* to;
    const std::byte* from;
  };
  virtual ~Follower() = default;
  /// Called by a function that was queued, before it starts kernels that keep old values: the mistake that something
  /// which it reads is known to come of, or why the device cannot be asked. Of those that are still to be found its
  /// kernels hear, as of their own.
  virtual std::shared_ptr<const Error> heed(std::span<Block* const> reads) = 0;
  /// Called by a function that was queued, after it has started kernels: what these read and write since it last said.
  virtual void ran(std::span<Block* const> reads, std::span<Block* const> writes, std::span<const Kept> kept) = 0;
};

}  // namespace anneal
