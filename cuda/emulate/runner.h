#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cuda_runtime.h"
#include "fiber.h"
#include "order.h"
#include "pending.h"
#include "races.h"
#include "translated.h"

namespace anneal::emulate {

/// Threads of a warp that meet under one mask.
struct Meeting {
  uint32_t mask, arrived = 0;
  uint64_t generation = 0;
  bool orders = false;  // what they have read and written
};

struct Warp {
  static constexpr unsigned kLanes = 32;
  uint32_t present = 0;  // threads that exist and have not ended
  std::vector<Meeting> meetings;
  std::array<uint64_t, kLanes> values{};
};

class Runner;

/// Runs threads of a block one after the other until one of them waits; then another worker goes on with the next.
struct Worker {
  explicit Worker(Runner& runner);
  bool ready() const { return *awaited != seen; }
  Fiber fiber;
  unsigned thread = 0;
  const uint64_t* awaited = nullptr;  // a generation, which changes when the wait is over
  uint64_t seen = 0;
};

/// Threads of a block that take turns.
struct Group {
  std::vector<unsigned> threads;
  size_t started = 0;
  std::vector<std::unique_ptr<Worker>> waiting;
};

/// What is to be run.
struct Grid {
  dim3 grid, block;
  size_t shared;
  const std::function<void()>& thread;
  uint64_t launch;  // its number
  bool translated;  // from PTX, where shared memory has addresses of its own
};

/// Runs the blocks that a thread of the host is given.
class Runner {
 public:
  void beginGrid() { races_.beginGrid(); }
  void run(const Grid& grid, int64_t block);
  std::string takeFault() { return std::exchange(fault_, {}); }
  void note(std::string what) {
    if (fault_.empty()) fault_ = std::move(what);
  }
  /// An access to memory, of the code before this address.
  void touch(const void* at, size_t bytes, Access access, const void* code);
  void syncBlock();
  int countBlock(bool vote);
  void syncWarp(uint32_t mask) { meetWarp(mask, true); }
  void meetWarp(uint32_t mask, bool orders = false);
  uint64_t exchange(uint32_t mask, uint64_t value, int from);
  /// The threads of `mask` that bring `wanted`, where this one brings `value`.
  uint32_t find(uint32_t mask, uint64_t value, uint64_t wanted);
  const uint64_t* bring(uint64_t value);
  Pending& pending() { return pending_[current_->thread]; }
  unsigned thread() const { return current_->thread; }
  int lane() const { return int(current_->thread % Warp::kLanes); }
  std::span<std::byte> shared() { return shared_; }
  uint64_t sharedAddress() const { return translated_ ? kSharedBase : reinterpret_cast<uint64_t>(shared_.data()); }
  bool unfenced() const { return unfenced_; }
  void work(Worker& worker);

 private:
  void end(unsigned thread);
  void meetBlock();
  void meet(unsigned warp, Meeting& meeting);
  void wait(const uint64_t& generation);
  void enter(Worker& worker);
  bool startNext();
  bool resumeReady();
  Warp& warp() { return warps_[current_->thread / Warp::kLanes]; }

  const std::function<void()>* thread_ = nullptr;
  unsigned total_ = 0, ended_ = 0, arrived_ = 0;
  uint64_t generation_ = 0;
  int votes_ = 0;
  bool unfenced_ = false, translated_ = false;
  std::vector<Warp> warps_;
  std::vector<Pending> pending_;
  Order order_;
  std::vector<Group> groups_;
  Group* group_ = nullptr;  // whose turn it is
  std::vector<std::unique_ptr<Worker>> spare_;
  Worker* current_ = nullptr;  // while a thread runs
  Races races_;
  std::vector<std::byte> shared_;
  std::string fault_;
};

}  // namespace anneal::emulate
