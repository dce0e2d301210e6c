#include "staging.h"

#include "launch.h"

namespace anneal::cuda {

Staging::Buffer* Staging::take() {
  Buffer* buffer = nullptr;
  {
    std::unique_lock lock(mutex_);
    if (free_.empty() && made_ == kMost) given_.wait(lock, [&] { return !free_.empty(); });
    if (!free_.empty() &&
        (made_ == kMost || !free_.front()->inFlight || cudaEventQuery(free_.front()->done) == cudaSuccess)) {
      buffer = free_.front();
      free_.erase(free_.begin());
    } else {
      ++made_;
    }
  }
  if (buffer) {
    if (buffer->inFlight) check(cudaEventSynchronize(buffer->done), "copy to the device");
    buffer->inFlight = false;
    return buffer;
  }
  try {
    return make();
  } catch (const Error&) {
    std::lock_guard lock(mutex_);
    --made_;
    throw;
  }
}

Staging::Buffer* Staging::make() {
  auto fresh = std::make_unique<Buffer>();
  check(cudaEventCreateWithFlags(&fresh->done, cudaEventDisableTiming | cudaEventBlockingSync), "event");
  check(cudaHostAlloc(&fresh->memory, kSize, cudaHostAllocDefault), "pinned memory");
  return fresh.release();
}

void Staging::give(Buffer* buffer, bool copying) {
  buffer->inFlight = copying;
  {
    std::lock_guard lock(mutex_);
    free_.push_back(buffer);
  }
  given_.notify_one();
}

}  // namespace anneal::cuda
