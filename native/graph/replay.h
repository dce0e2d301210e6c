#pragma once
#include <mutex>

#include "graph/arena.h"
#include "graph/program.h"
#include "runtime/executor.h"
#include "runtime/recorder.h"

namespace anneal {

/// Values that lie in the arena for one run: what is brought there before it, and taken from there afterwards.
class Visit {
 public:
  Visit() = default;
  Visit(const Plan& plan, std::byte* arena);
  /// Where the run finds a value from outside; null: nowhere, because nothing reads it.
  std::byte* bring(const Plan::Place& place, const View& from);
  /// Where the run leaves a value that is to come to `to`, or else, where a kernel finds a mistake, that of `kept`.
  std::byte* take(const Plan::Place& place, std::byte* to, size_t bytes, const std::byte* kept = nullptr);

  void begin(Recorder& recorder) const;
  void end(Recorder& recorder) const;

 private:
  std::byte *arena_ = nullptr, *slotsAt_ = nullptr;
  std::vector<Recorder::Slot> slots_;
  std::vector<Recorder::Move> brought_, taken_;
};

/// What a program keeps to run as one recording. A run that finds all memory where the run before had it records its
/// operations, and those after it replay them while that stays so: new values of parameters in new memory, or somebody
/// who keeps the old ones, cost two runs of separate operations. The first run is one: there kernels choose their ways.
struct Steady {
  /// Null where the device's stream cannot be recorded.
  static std::unique_ptr<Steady> of(Device& device);
  explicit Steady(Device& device, Recorder& with) : recorder(with), arena(Arena::of(device)) {}

  Recorder& recorder;
  const std::shared_ptr<Arena> arena;
  // On the stream's thread:
  std::vector<std::byte*> before, recorded;  // where values lay in the last run, and in the recording
  bool fastFloat32 = false;                  // in both
  std::unique_ptr<Recording> recording;

  void count(uint64_t Replays::*what);
  void refuse(std::string problem);
  Replays replays() const;

 private:
  mutable std::mutex mutex_;
  Replays replays_;
};

}  // namespace anneal
