// The memory of the emulated devices: the host's, of which it is known whose it is.
#include <array>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "launch.h"

namespace {

constexpr int kDevices = 2;

struct Owned {
  size_t bytes;
  int device;
};

thread_local int chosen = 0;
std::mutex mutex;
std::map<const char*, Owned> allocations;                      // by where they begin
std::array<std::array<bool, kDevices>, kDevices> reachable{};  // by device and peer

bool known(int device) { return device >= 0 && device < kDevices; }

/// Whether all of a piece of memory lies in one allocation of a device.
bool owns(int device, const void* memory, size_t bytes) {
  const char* at = static_cast<const char*>(memory);
  auto found = allocations.upper_bound(at);
  if (found == allocations.begin()) return false;
  const auto& [begin, owned] = *--found;
  return owned.device == device && at + bytes <= begin + owned.bytes;
}

}  // namespace

cudaError_t cudaSetDevice(int device) {
  if (!known(device)) return cudaErrorInvalidValue;
  chosen = device;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  if (anneal::emulate::forbidden()) return cudaErrorStreamCaptureUnsupported;
  if (posix_memalign(memory, 256, bytes) != 0) return cudaErrorMemoryAllocation;
  std::lock_guard lock(mutex);
  allocations[static_cast<const char*>(*memory)] = {bytes, chosen};
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  if (anneal::emulate::forbidden()) return cudaErrorStreamCaptureUnsupported;
  {
    std::lock_guard lock(mutex);
    allocations.erase(static_cast<const char*>(memory));
  }
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  return posix_memalign(memory, 256, bytes) == 0 ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int* able, int device, int peer) {
  if (!known(device) || !known(peer)) return cudaErrorInvalidValue;
  *able = device != peer;
  return cudaSuccess;
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned) {
  if (!known(peer) || peer == chosen) return cudaErrorInvalidValue;
  std::lock_guard lock(mutex);
  if (std::exchange(reachable[size_t(chosen)][size_t(peer)], true)) return cudaErrorPeerAccessAlreadyEnabled;
  return cudaSuccess;
}

cudaError_t cudaMemcpyPeerAsync(void* to, int toDevice, const void* from, int fromDevice, size_t bytes, cudaStream_t) {
  {
    std::lock_guard lock(mutex);
    if (!owns(toDevice, to, bytes) || !owns(fromDevice, from, bytes)) return cudaErrorInvalidValue;
  }
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
