#include "runner.h"

#include <algorithm>

#include "tensorcore.h"

namespace anneal::emulate {

constexpr unsigned kLanes = Warp::kLanes;

Worker::Worker(Runner& runner) : fiber([this, &runner] { runner.work(*this); }) {}

void Runner::run(const Grid& grid, int64_t block) {
  const dim3 size = grid.block, blocks = grid.grid;
  thread_ = &grid.thread;
  blockIdx = {unsigned(block % blocks.x), unsigned(block / blocks.x % blocks.y), unsigned(block / blocks.x / blocks.y)};
  total_ = size.x * size.y * size.z;
  ended_ = arrived_ = 0;
  warps_.assign((total_ + kLanes - 1) / kLanes, {});
  for (unsigned t = 0; t < total_; ++t) warps_[t / kLanes].present |= 1u << t % kLanes;
  pending_.assign(total_, {});
  unfenced_ = false;
  translated_ = grid.translated;
  shared_ = std::vector<std::byte>(grid.shared, std::byte(0xff));  // NaN: nothing may rely on what was there before
  if constexpr (kWatched) races_.beginBlock(block, total_, shared_.data(), shared_.size());
  order_.begin(grid.launch, uint64_t(block));
  groups_.clear();
  for (auto& threads : order_.threads(total_)) groups_.push_back({.threads = std::move(threads)});
  for (bool progress = true; progress && ended_ < total_;) {
    progress = false;
    for (Group& group : groups_) {
      group_ = &group;
      while (startNext() || resumeReady()) progress = true;
    }
    order_.mix(groups_);
  }
  if (ended_ == total_) return endProducts(pending_);
  note("threads wait for others that have gone elsewhere");
  for (Group& group : groups_)
    for (auto& stuck : group.waiting) (void)stuck.release();  // their stacks cannot be unwound
}

bool Runner::startNext() {
  if (group_->started == group_->threads.size()) return false;
  if (spare_.empty()) spare_.push_back(std::make_unique<Worker>(*this));
  auto& waiting = group_->waiting;
  waiting.push_back(std::move(spare_.back()));
  spare_.pop_back();
  Worker& worker = *waiting.back();
  worker.fiber.restart();
  enter(worker);
  if (worker.fiber.ended()) {
    spare_.push_back(std::move(waiting.back()));
    waiting.pop_back();
  }
  return true;
}

bool Runner::resumeReady() {
  bool progress = false;
  auto& waiting = group_->waiting;
  order_.mix(waiting);
  for (auto& worker : waiting) {
    if (!worker->ready()) continue;
    progress = true;
    enter(*worker);
    if (worker->fiber.ended()) spare_.push_back(std::move(worker));
  }
  std::erase_if(waiting, [](const auto& w) { return !w; });
  return progress;
}

/// Makes thread `t` of the block the one that runs.
void become(unsigned t) { threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y}; }

void Runner::enter(Worker& worker) {
  current_ = &worker;
  become(worker.thread);
  worker.fiber.enter();
  current_ = nullptr;
}

void Runner::work(Worker& worker) {
  while (group_->started < group_->threads.size()) {
    const unsigned t = worker.thread = group_->threads[group_->started++];
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
  for (Meeting& m : warp.meetings) meet(thread / kLanes, m);
}

void Runner::meetBlock() {
  if (arrived_ == 0 || arrived_ < total_ - ended_) return;
  arrived_ = 0;
  ++generation_;
  races_.syncBlock();
}

void Runner::meet(unsigned warp, Meeting& meeting) {
  const uint32_t present = warps_[warp].present;
  if (meeting.arrived == 0 || (meeting.arrived & present) != (meeting.mask & present)) return;
  if (kWatched && meeting.orders) races_.syncWarp(warp, meeting.arrived);
  meeting.arrived = 0;
  ++meeting.generation;
}

void Runner::wait(const uint64_t& generation) {
  Worker& worker = *current_;
  worker.awaited = &generation;
  if (order_.pauses()) worker.fiber.leave();
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

void Runner::meetWarp(uint32_t mask, bool orders) {
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
  found->orders = orders;
  meet(current_->thread / kLanes, *found);
  wait(found->generation);
}

uint64_t Runner::exchange(uint32_t mask, uint64_t value, int from) {
  Warp& w = warp();
  w.values[size_t(lane())] = value;
  meetWarp(mask);
  if (!((mask & w.present) >> from & 1)) note("a shuffle reads from a thread that does not take part");
  const uint64_t got = w.values[size_t(from)];
  meetWarp(mask);
  return got;
}

uint32_t Runner::find(uint32_t mask, uint64_t value, uint64_t wanted) {
  Warp& w = warp();
  w.values[size_t(lane())] = value;
  meetWarp(mask);
  uint32_t same = 0;
  for (unsigned i = 0; i < kLanes; ++i)
    if ((mask & w.present) >> i & 1 && w.values[i] == wanted) same |= 1u << i;
  meetWarp(mask);
  return same;
}

void Runner::touch(const void* at, size_t bytes, Access access, const void* code) {
  if (!current_ || !fault_.empty()) return;
  if (std::string problem = races_.touch(current_->thread, at, bytes, access, code); !problem.empty())
    note(std::move(problem));
}

const uint64_t* Runner::bring(uint64_t value) {
  Warp& w = warp();
  w.values[size_t(lane())] = value;
  if (w.present != kWholeWarp) note("an operation of whole warps is reached by a part of one");
  meetWarp(kWholeWarp);
  return w.values.data();
}

}  // namespace anneal::emulate
