// Between the host and a GPU, and within one. From one GPU to another: see peer.cpp.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "core/access.h"
#include "device.h"
#include "launch.h"
#include "nccl.h"

namespace anneal::cuda {
namespace {

constexpr auto kSpin = std::chrono::microseconds(50);

}  // namespace

cudaError_t await(cudaEvent_t event) {
  const auto until = std::chrono::steady_clock::now() + kSpin;
  do {
    const cudaError_t state = cudaEventQuery(event);
    if (state != cudaErrorNotReady) return state;
  } while (std::chrono::steady_clock::now() < until);
  return cudaEventSynchronize(event);
}

void CudaDevice::copyIn(const Ref<Block>& to, size_t at, Staging& from, Staging::Buffer* buffer, size_t bytes) {
  try {
    check(cudaMemcpyAsync(to->data + at, buffer->memory, bytes, cudaMemcpyHostToDevice, in_), "copy to the device");
    check(cudaEventRecord(buffer->done, in_), "recording an event");
    check(cudaStreamWaitEvent(stream_, buffer->done, 0), "waiting for a copy");
    from.give(buffer, true);
    faults_.note(job(), {}, {{to->data, to->bytes}});
  } catch (const Error& e) {
    from.give(buffer, false);
    to->fault = std::make_shared<const Error>(e);
  }
}

void CudaDevice::upload(const Ref<Block>& to, const void* from, size_t bytes) {
  activate();
  const bool own = executor_.here();
  Staging& staging = own ? ownUploads_ : uploads_;
  for (size_t at = 0; at < bytes; at += Staging::kSize) {
    const size_t n = std::min(Staging::kSize, bytes - at);
    Staging::Buffer* buffer = staging.take();
    std::memcpy(buffer->memory, static_cast<const std::byte*>(from) + at, n);
    if (own) copyIn(to, at, staging, buffer, n);
    else executor_.enqueue([this, to, at, &staging, buffer, n] { copyIn(to, at, staging, buffer, n); });
  }
}

void CudaDevice::throwState() const {
  const cudaError_t state = cudaStreamQuery(stream_);
  if (state != cudaErrorNotReady) check(state, "a kernel");
  throwNcclErrors(ordinal_);
}

/// The fault of what wrote that memory, or of a GPU itself.
void CudaDevice::throwFaults(const std::byte* memory) {
  if (const Faults::Fault fault = faults_.at(memory)) throw Error(*fault);
  throwState();
  std::lock_guard lock(sourcesMutex_);
  for (const CudaDevice* source : sources_) source->throwState();
}

/// Two buffers in turn: one is filled while the other is emptied.
void CudaDevice::readNow(const std::byte* from, void* to, size_t bytes) {
  activate();
  throwFaults(from);
  struct Part {
    Staging::Buffer* buffer = nullptr;
    size_t at = 0, bytes = 0;
  } parts[2];
  const auto empty = [&](Part& part) {
    if (!part.buffer) return;
    const cudaError_t state = await(part.buffer->done);
    if (state == cudaSuccess) std::memcpy(static_cast<std::byte*>(to) + part.at, part.buffer->memory, part.bytes);
    downloads_.give(std::exchange(part.buffer, nullptr), false);
    check(state, "copy from the device");
  };
  int turn = 0;
  for (size_t at = 0; at < bytes; at += Staging::kSize, turn ^= 1) {
    Part& part = parts[turn];
    empty(part);
    part = {downloads_.take(), at, std::min(Staging::kSize, bytes - at)};
    const cudaError_t started =
        cudaMemcpyAsync(part.buffer->memory, from + at, part.bytes, cudaMemcpyDeviceToHost, out_);
    if (started == cudaSuccess) (void)cudaEventRecord(part.buffer->done, out_);
    check(started, "copy from the device");
  }
  empty(parts[turn]);
  empty(parts[turn ^ 1]);
}

void CudaDevice::move(std::byte* to, const std::byte* from, size_t bytes) {
  if constexpr (kTracksAccess) allowAccess(to, bytes);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "copy on the device");
}

}  // namespace anneal::cuda
