// How far the GPU has come, and what waits for that.
#include <algorithm>

#include "device.h"
#include "launch.h"

namespace anneal::cuda {
namespace {

thread_local const CudaDevice* waiter = nullptr;  // whose completion thread this is

}  // namespace

cudaEvent_t CudaDevice::takeEvent() const {
  {
    std::lock_guard lock(progress_);
    if (!events_.empty()) {
      const cudaEvent_t event = events_.back();
      events_.pop_back();
      return event;
    }
  }
  cudaEvent_t event;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync), "creating an event");
  return event;
}

void CudaDevice::giveEvent(cudaEvent_t event) const {
  std::lock_guard lock(progress_);
  events_.push_back(event);
}

/// Notes how far the GPU will be when it has done all that it was given so far.
void CudaDevice::mark() {
  try {
    const uint64_t jobs = executor_.completed();
    const cudaEvent_t event = takeEvent();
    check(cudaEventRecord(event, stream_), "recording an event");
    std::lock_guard lock(progress_);
    marks_.push_back({jobs, event});
  } catch (const Error&) {  // of a lost device: whoever waits for values hears of it
  }
}

uint64_t CudaDevice::finished() const {
  std::lock_guard lock(progress_);
  while (!marks_.empty() && cudaEventQuery(marks_.front().event) != cudaErrorNotReady) {
    finished_ = std::max(finished_, marks_.front().jobs);
    events_.push_back(marks_.front().event);
    marks_.pop_front();
  }
  return finished_;
}

/// An event that came after so many jobs has come.
void CudaDevice::reached(uint64_t jobs) const {
  std::lock_guard lock(progress_);
  finished_ = std::max(finished_, jobs);
}

void CudaDevice::drain() {
  const uint64_t jobs = executor_.completed();
  check(cudaStreamSynchronize(stream_), "waiting for the GPU");
  reached(jobs);
}

void CudaDevice::whenDone(std::function<void()> function) {
  {
    std::lock_guard lock(waitingMutex_);
    ++unsettled_;
  }
  executor_.enqueue([this, function = std::move(function)]() mutable {
    cudaEvent_t event = nullptr;
    try {
      event = takeEvent();
      check(cudaEventRecord(event, stream_), "recording an event");
    } catch (const Error&) {  // of a lost device: reading says so
    }
    std::lock_guard lock(waitingMutex_);
    waiting_.push_back({executor_.completed(), event, std::move(function)});
    wake_.notify_one();
  });
}

void CudaDevice::waitLoop() {
  waiter = this;
  (void)cudaSetDevice(ordinal_);
  for (;;) {
    Waiting next;
    {
      std::unique_lock lock(waitingMutex_);
      wake_.wait(lock, [&] { return !waiting_.empty(); });
      next = std::move(waiting_.front());
      waiting_.pop_front();
    }
    if (next.event) {
      (void)await(next.event);
      reached(next.jobs);
      giveEvent(next.event);
    }
    next.function();
    next = {};
    std::lock_guard lock(waitingMutex_);
    if (--unsettled_ == 0) settled_.notify_all();
  }
}

void CudaDevice::synchronize() {
  activate();
  executor_.synchronize();
  const uint64_t jobs = executor_.completed();
  (void)cudaStreamSynchronize(stream_);
  reached(jobs);
  if (executor_.here() || waiter == this) return;
  std::unique_lock lock(waitingMutex_);
  settled_.wait(lock, [&] { return unsettled_ == 0; });
}

}  // namespace anneal::cuda
