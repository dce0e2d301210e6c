#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fiber.h"
#include "launch.h"
#include "pending.h"
#include "tensorcore.h"

namespace anneal::emulate {
namespace {

constexpr unsigned kLanes = 32;

/// Threads of a warp that meet under one mask.
struct Meeting {
  uint32_t mask, arrived = 0;
  uint64_t generation = 0;
};

struct Warp {
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

/// Runs the blocks that a thread of the host is given.
class Runner {
 public:
  void run(uint3 block, dim3 size, size_t shared, const std::function<void()>& thread);
  std::string takeFault() { return std::exchange(fault_, {}); }
  void note(const char* what) {
    if (fault_.empty()) fault_ = what;
  }
  void syncBlock();
  int countBlock(bool vote);
  void syncWarp(uint32_t mask);
  uint64_t exchange(uint32_t mask, uint64_t value, int from);
  /// The threads of `mask` that bring `wanted`, where this one brings `value`.
  uint32_t find(uint32_t mask, uint64_t value, uint64_t wanted);
  const uint64_t* bring(uint64_t value);
  Pending& pending() { return pending_[current_->thread]; }
  unsigned thread() const { return current_->thread; }
  int lane() const { return int(current_->thread % kLanes); }
  std::span<std::byte> shared() { return shared_; }
  bool unfenced() const { return unfenced_; }
  void work(Worker& worker);

 private:
  void end(unsigned thread);
  void meetBlock();
  void meet(Warp& warp, Meeting& meeting);
  void wait(const uint64_t& generation);
  void enter(Worker& worker);
  bool startNext();
  bool resumeReady();
  Warp& warp() { return warps_[current_->thread / kLanes]; }

  const std::function<void()>* thread_ = nullptr;
  unsigned total_ = 0, next_ = 0, ended_ = 0, arrived_ = 0;
  uint64_t generation_ = 0;
  int votes_ = 0;
  bool unfenced_ = false;
  std::vector<Warp> warps_;
  std::vector<Pending> pending_;
  std::vector<std::unique_ptr<Worker>> waiting_, spare_;
  Worker* current_ = nullptr;
  std::vector<std::byte> shared_;
  std::string fault_;
};

thread_local Runner* runner = nullptr;

Worker::Worker(Runner& runner) : fiber([this, &runner] { runner.work(*this); }) {}

void Runner::run(uint3 block, dim3 size, size_t shared, const std::function<void()>& thread) {
  thread_ = &thread;
  blockIdx = block;
  total_ = size.x * size.y * size.z;
  next_ = ended_ = arrived_ = 0;
  warps_.assign((total_ + kLanes - 1) / kLanes, {});
  for (unsigned t = 0; t < total_; ++t) warps_[t / kLanes].present |= 1u << t % kLanes;
  pending_.assign(total_, {});
  unfenced_ = false;
  shared_ = std::vector<std::byte>(shared, std::byte(0xff));  // NaN: nothing may rely on what was there before
  while (ended_ < total_) {
    const bool progress = startNext() || resumeReady();
    if (progress) continue;
    note("threads wait for others that have gone elsewhere");
    for (auto& stuck : waiting_) (void)stuck.release();  // their stacks cannot be unwound
    waiting_.clear();
    return;
  }
  endProducts(pending_);
}

bool Runner::startNext() {
  if (next_ >= total_) return false;
  if (spare_.empty()) spare_.push_back(std::make_unique<Worker>(*this));
  waiting_.push_back(std::move(spare_.back()));
  spare_.pop_back();
  Worker& worker = *waiting_.back();
  worker.fiber.restart();
  enter(worker);
  if (worker.fiber.ended()) {
    spare_.push_back(std::move(waiting_.back()));
    waiting_.pop_back();
  }
  return true;
}

bool Runner::resumeReady() {
  bool progress = false;
  for (size_t i = 0; i < waiting_.size(); ++i) {
    if (!waiting_[i]->ready()) continue;
    progress = true;
    enter(*waiting_[i]);
    if (waiting_[i]->fiber.ended()) spare_.push_back(std::move(waiting_[i]));
  }
  std::erase_if(waiting_, [](const auto& w) { return !w; });
  return progress;
}

/// Makes thread `t` of the block the one that runs.
void become(unsigned t) { threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y}; }

void Runner::enter(Worker& worker) {
  current_ = &worker;
  become(worker.thread);
  worker.fiber.enter();
}

void Runner::work(Worker& worker) {
  while (next_ < total_) {
    const unsigned t = worker.thread = next_++;
    become(t);
    (*thread_)();
    end(t);
  }
}

/// Whoever waits no longer waits for a thread that has ended.
void Runner::end(unsigned thread) {
  ++ended_;
  Warp& warp = warps_[thread / kLanes];
  warp.present &= ~(1u << thread % kLanes);
  meetBlock();
  for (Meeting& m : warp.meetings) meet(warp, m);
}

void Runner::meetBlock() {
  if (arrived_ == 0 || arrived_ < total_ - ended_) return;
  arrived_ = 0;
  ++generation_;
}

void Runner::meet(Warp& warp, Meeting& meeting) {
  if (meeting.arrived == 0 || (meeting.arrived & warp.present) != (meeting.mask & warp.present)) return;
  meeting.arrived = 0;
  ++meeting.generation;
}

void Runner::wait(const uint64_t& generation) {
  Worker& worker = *current_;
  worker.awaited = &generation;
  while (!worker.ready()) worker.fiber.leave();
}

void Runner::syncBlock() {
  unfenced_ |= pending().copies.landed;
  current_->seen = generation_;
  ++arrived_;
  meetBlock();
  wait(generation_);
}

int Runner::countBlock(bool vote) {
  votes_ += vote;
  syncBlock();
  const int all = votes_;
  syncBlock();
  votes_ = 0;
  syncBlock();
  return all;
}

void Runner::syncWarp(uint32_t mask) {
  Warp& w = warp();
  if (w.meetings.capacity() == 0) w.meetings.reserve(64);  // waiting threads point into it
  if (!(mask >> lane() & 1)) note("a thread that its mask does not name takes part in an operation of the warp");
  auto found = std::find_if(w.meetings.begin(), w.meetings.end(), [&](const Meeting& m) { return m.mask == mask; });
  if (found == w.meetings.end()) {
    if (w.meetings.size() == 64) return note("a warp meets under more masks than the emulator keeps");
    found = w.meetings.insert(w.meetings.end(), Meeting{mask});
  }
  current_->seen = found->generation;
  found->arrived |= 1u << lane();
  meet(w, *found);
  wait(found->generation);
}

uint64_t Runner::exchange(uint32_t mask, uint64_t value, int from) {
  Warp& w = warp();
  w.values[size_t(lane())] = value;
  syncWarp(mask);
  if (!((mask & w.present) >> from & 1)) note("a shuffle reads from a thread that does not take part");
  const uint64_t got = w.values[size_t(from)];
  syncWarp(mask);
  return got;
}

uint32_t Runner::find(uint32_t mask, uint64_t value, uint64_t wanted) {
  Warp& w = warp();
  w.values[size_t(lane())] = value;
  syncWarp(mask);
  uint32_t same = 0;
  for (unsigned i = 0; i < kLanes; ++i)
    if ((mask & w.present) >> i & 1 && w.values[i] == wanted) same |= 1u << i;
  syncWarp(mask);
  return same;
}

const uint64_t* Runner::bring(uint64_t value) {
  Warp& w = warp();
  w.values[size_t(lane())] = value;
  if (w.present != kWholeWarp) note("an operation of whole warps is reached by a part of one");
  syncWarp(kWholeWarp);
  return w.values.data();
}

}  // namespace

void runGrid(dim3 grid, dim3 block, size_t shared, const std::function<void()>& thread) {
  const int64_t blocks = int64_t(grid.x) * grid.y * grid.z;
  std::string fault;
#pragma omp parallel if (blocks > 1 && blocks * int64_t(block.x) > 4096)
  {
    thread_local Runner own;
    runner = &own;
    blockDim = block;
    gridDim = grid;
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < blocks; ++i)
      own.run({unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / grid.x / grid.y)}, block, shared,
              thread);
    if (const std::string mine = own.takeFault(); !mine.empty()) {
#pragma omp critical
      fault = mine;
    }
  }
  if (!fault.empty()) throw std::runtime_error("kernel: " + fault);
}

void syncBlock() { runner->syncBlock(); }
int countBlock(bool vote) { return runner->countBlock(vote); }
void syncWarp(uint32_t mask) { runner->syncWarp(mask); }
uint64_t exchange(uint32_t mask, uint64_t value, int from) { return runner->exchange(mask, value, from); }
uint32_t ballot(uint32_t mask, bool vote) { return runner->find(mask, vote, 1); }
uint32_t match(uint32_t mask, uint64_t value) { return runner->find(mask, value, value); }
int lane() { return runner->lane(); }
const uint64_t* bring(uint64_t value) { return runner->bring(value); }

Pending& pending() { return runner->pending(); }
unsigned threadOfBlock() { return runner->thread(); }
std::span<const std::byte> sharedMemory() { return runner->shared(); }
bool unfenced() { return runner->unfenced(); }

void* dynamicShared() { return runner->shared().data(); }
void misuse(const char* what) { runner->note(what); }

}  // namespace anneal::emulate
