#include "runtime/executor.h"

#include <chrono>
#include <new>
#include <thread>

#include "op/row.h"

namespace anneal {
namespace {

thread_local const Executor* mine = nullptr;
// A caller this far ahead of the stream waits: a loop that never awaits must not fill the memory with tasks.
constexpr uint64_t kMostQueued = uint64_t(1) << 16;
constexpr auto kSpin = std::chrono::microseconds(50);

}  // namespace

void runKernel(DeviceType device, const Row& row, const void* attrs, std::span<const View> in,
               std::span<const View> out) {
  std::shared_ptr<const Error> fault;
  for (const View& v : in)
    if (v.block && v.block->fault) [[unlikely]]
      fault = v.block->fault;
  if (!fault) [[likely]] {
    try {
      row.kernels[size_t(device)](attrs, in, out);
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
  std::thread([this] { loop(); }).detach();
}

bool Executor::here() const { return mine == this; }

/// Waits until at most `left` jobs of those submitted so far are to be done.
void Executor::await(uint64_t left) {
  ++waiters_;
  if (quiet_.load()) {
    std::lock_guard running(running_);
    resume_.notify_one();
  }
  {
    std::unique_lock lock(mutex_);
    uint64_t target = submitted_.load();
    progress_.wait(lock, [&] { return completed_.load() + left >= target; });
  }
  --waiters_;
  if (quiet_.load()) std::lock_guard running(running_);  // the task in hand ends before the caller goes on
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
  quiet_.store(true);
  std::lock_guard running(running_);
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

void Executor::run(Job& job) {
  std::unique_lock running(running_);
  if (quiet_.load()) resume_.wait(running, [&] { return waiters_.load() > 0; });
  if (job.function) job.function();
  else hooks_.run(job.task);
  job = {};
}

void Executor::loop() {
  mine = this;
  if (hooks_.begin) hooks_.begin();
  std::vector<Job> batch;
  for (;;) {
    waitForWork();
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
      completed_.fetch_add(1);  // in one order with `waiters_`, or else a waiter that comes now could be missed
      if (waiters_.load()) {
        std::lock_guard lock(mutex_);
        progress_.notify_all();
      }
    }
    batch.clear();
    if (hooks_.caughtUp && queued_.load() == 0) hooks_.caughtUp();
  }
}

}  // namespace anneal
