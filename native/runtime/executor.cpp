#include "runtime/executor.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <new>
#include <thread>

#include "op/row.h"
#include "runtime/recorder.h"

namespace anneal {
namespace {

thread_local Executor* mine = nullptr;
// A caller this far ahead of the stream waits: a loop that never awaits must not fill the memory with tasks.
constexpr uint64_t kMostQueued = uint64_t(1) << 16;
constexpr auto kSpin = std::chrono::microseconds(50);

/// What all streams go by, because they wait for each other: once the process is to end, jobs begin, or go on, only
/// while there are waiters. Whom they wait for does not matter.
struct Gate {
  std::mutex mutex;
  std::condition_variable opens;
  std::vector<Executor*> all;
  std::atomic<int> waiters{0};
  std::atomic<bool> quiet{false};
};
/// Never destroyed, since threads wait at it until the process is gone.
Gate& gate = *new Gate;

}  // namespace

std::shared_ptr<const Error> faultOf(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& e) {
    return std::make_shared<const Error>(e);
  } catch (const std::bad_alloc&) {
    return std::make_shared<const Error>(Code::Memory, "out of memory");
  } catch (const std::exception& e) {
    return std::make_shared<const Error>(Code::Internal, e.what());
  }
  return nullptr;
}

void keepDonors(Device& device, const Row& row, std::span<const View> in, std::span<const View> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const View& old = in[size_t(row.donor(i, in.size()))];
    keepValue(device, out[i], old);
    out[i].block->fault = old.block ? old.block->fault : nullptr;
  }
}

void keepValue(Device& device, const View& to, const View& old) {
  if (to.memory == old.memory) return;
  auto* const recorder = old.memory ? nullptr : dynamic_cast<Recorder*>(&device);
  if (recorder) return recorder->put(to.memory, {&old.scalar, 1});
  device.move(to.memory, static_cast<const std::byte*>(old.data()), size_t(to.size()) * itemSize(to.dtype));
}

void runKernel(Device& device, const Row& row, const void* attrs, std::span<const View> in, std::span<const View> out) {
  std::shared_ptr<const Error> fault;
  for (const View& v : in)
    if (v.block && v.block->fault) [[unlikely]]
      fault = v.block->fault;
  if (fault && row.keeps) return keepDonors(device, row, in, out);
  if (!fault) [[likely]] {
    try {
      row.kernels[size_t(device.type())](attrs, in, out);
    } catch (const Error& e) {
      fault = std::make_shared<const Error>(e);
    } catch (const std::bad_alloc&) {
      fault = std::make_shared<const Error>(Code::Memory, row.name + ": out of memory for working space");
    } catch (const std::exception& e) {
      fault = std::make_shared<const Error>(Code::Internal, row.name + ": " + e.what());
    }
  }
  for (const View& v : out)
    if (v.block && (fault || v.block->fault)) [[unlikely]]
      v.block->fault = fault;
}

Executor::Executor(Hooks hooks) : hooks_(std::move(hooks)) {
  {
    std::lock_guard lock(gate.mutex);
    gate.all.push_back(this);
  }
  std::thread([this] { loop(); }).detach();
}

bool Executor::here() const { return mine == this; }

/// Waits until at most `left` jobs of those submitted so far are to be done.
void Executor::await(uint64_t left) {
  ++gate.waiters;
  if (gate.quiet.load()) {
    std::lock_guard lock(gate.mutex);
    gate.opens.notify_all();
  }
  {
    std::unique_lock lock(mutex_);
    uint64_t target = submitted_.load();
    progress_.wait(lock, [&] { return completed_.load() + left >= target; });
  }
  --gate.waiters;
  if (gate.quiet.load() && !mine) settle();
}

/// Waits until no stream has a job in hand that goes on.
void Executor::settle() {
  std::vector<Executor*> all;
  {
    std::lock_guard lock(gate.mutex);
    all = gate.all;
  }
  for (Executor* e : all) std::lock_guard running(e->running_);
}

void Executor::push(Job&& job) {
  if (submitted_.load() - completed_.load() > kMostQueued && !here()) await(kMostQueued / 2);
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
    submitted_.fetch_add(1, std::memory_order_release);
    queued_.store(queue_.size());
  }
  if (parked_.load()) work_.notify_one();
}

void Executor::synchronize() {
  if (!here()) await(0);
}

void Executor::quiesce() {
  gate.quiet.store(true);
  settle();
}

void Executor::pause(const std::function<void()>& wait) {
  mine->running_.unlock();
  wait();
  mine->enter();
}

bool Executor::waitForWork() {
  auto until = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (queued_.load(std::memory_order_relaxed)) return true;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  } while (std::chrono::steady_clock::now() < until);
  return false;
}

/// Takes `running_`, when the gate is open.
void Executor::enter() {
  running_.lock();
  while (gate.quiet.load() && gate.waiters.load() == 0) [[unlikely]] {
      running_.unlock();
      {
        std::unique_lock lock(gate.mutex);
        gate.opens.wait(lock, [] { return gate.waiters.load() > 0; });
      }
      running_.lock();
    }
}

void Executor::run(Job& job) {
  enter();
  std::lock_guard running(running_, std::adopt_lock);
  // Those who queue work catch what it throws, for its results; this is for what they have not thought of.
  const auto lost = faultOf([&] {
    if (job.function) job.function();
    else hooks_.run(job.task);
  });
  if (lost) std::fprintf(stderr, "anneal: an error that no result tells of: %s\n", lost->what());
  job = {};
}

void Executor::loop() {
  mine = this;
  if (hooks_.begin) hooks_.begin();
  std::vector<Job> batch;
  bool behind = false;  // jobs have ended since it was said that all have
  for (;;) {
    if (!waitForWork() && behind && hooks_.caughtUp) {
      hooks_.caughtUp();
      behind = false;
    }
    {
      std::unique_lock lock(mutex_);
      parked_.store(true);
      work_.wait(lock, [&] { return !queue_.empty(); });
      parked_.store(false);
      std::swap(batch, queue_);
      queued_.store(0);
    }
    for (Job& job : batch) {
      run(job);
      completed_.fetch_add(1);  // in one order with `waiters`, or else a waiter that comes now could be missed
      if (gate.waiters.load()) {
        std::lock_guard lock(mutex_);
        progress_.notify_all();
      }
    }
    batch.clear();
    behind = true;
  }
}

}  // namespace anneal
