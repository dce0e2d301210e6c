#pragma once
#include <array>
#include <functional>
#include <memory>
#include <span>

namespace anneal {

/// Work of a device's stream that is started as one, again and again, with the same memory.
class Recording {
 public:
  virtual ~Recording() = default;
  /// Puts the work on the stream; on the stream's own thread.
  virtual void replay() = 0;
};

/// What a device does whose stream can be recorded. All of it on the stream's own thread.
class Recorder {
 public:
  struct Move {
    std::byte* to;
    const std::byte* from;
    size_t bytes;
    const std::byte* kept = nullptr;  // if given: what comes instead where a kernel has found a mistake in its data
  };
  using Slot = std::array<std::byte, 16>;

  virtual ~Recorder() = default;
  /// Records what `work` starts, which does not run meanwhile. The working memory of its kernels stays as long as the
  /// recording. Throws what `work` throws, an Error (Device) where something in it cannot be recorded, and an Error
  /// (Memory) where there is no room for the recording.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work) = 0;
  /// Copies between pieces of the device's memory that do not overlap, or are the same. Mistakes in data are those that
  /// kernels of the job in hand have found, the last recording's among them.
  virtual void moveAll(std::span<const Move> moves) = 0;
  /// Puts values into the device's memory, which is aligned to them; they are read before this returns.
  virtual void put(std::byte* to, std::span<const Slot> values) = 0;
};

}  // namespace anneal
