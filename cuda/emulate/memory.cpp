// The memory of the emulated devices: the host's, of which it is known whose it is.
#include <sys/mman.h>

#include <array>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "late.h"
#include "launch.h"

namespace {

constexpr int kDevices = 2;
constexpr size_t kPage = 4096;

struct Owned {
  size_t bytes;
  int device;
};

thread_local int chosen = 0;
std::mutex mutex;
std::map<const char*, Owned> allocations, pinned;              // by where they begin
std::array<std::array<bool, kDevices>, kDevices> reachable{};  // by device and peer

bool known(int device) { return device >= 0 && device < kDevices; }

/// The allocation in which all of a piece of memory lies, or null.
const Owned* find(const std::map<const char*, Owned>& among, const void* memory, size_t bytes) {
  const char* at = static_cast<const char*>(memory);
  auto found = among.upper_bound(at);
  if (found == among.begin()) return nullptr;
  const auto& [begin, owned] = *--found;
  return at + bytes <= begin + owned.bytes ? &owned : nullptr;
}

bool owns(int device, const void* memory, size_t bytes) {
  const Owned* found = find(allocations, memory, bytes);
  return found && found->device == device;
}

}  // namespace

namespace anneal::emulate {

Memory memoryOf(const void* memory, size_t bytes) {
  std::lock_guard lock(mutex);
  if (find(allocations, memory, bytes)) return Memory::Device;
  return find(pinned, memory, bytes) ? Memory::Pinned : Memory::Other;
}

int currentDevice() { return chosen; }

}  // namespace anneal::emulate

cudaError_t cudaSetDevice(int device) {
  if (!known(device)) return cudaErrorInvalidValue;
  chosen = device;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  if (anneal::emulate::forbidden()) return cudaErrorStreamCaptureUnsupported;
  // Where streams are late, in pages of its own: see cudaFree.
  const bool pages = anneal::emulate::late();
  if (pages) bytes = (bytes + kPage - 1) / kPage * kPage;
  if (posix_memalign(memory, pages ? kPage : 256, bytes) != 0) return cudaErrorMemoryAllocation;
  std::lock_guard lock(mutex);
  allocations[static_cast<const char*>(*memory)] = {bytes, chosen};
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  if (anneal::emulate::forbidden()) return cudaErrorStreamCaptureUnsupported;
  if (!memory) return cudaSuccess;
  size_t bytes = 0;
  {
    std::lock_guard lock(mutex);
    const auto found = allocations.find(static_cast<const char*>(memory));
    if (found == allocations.end()) return cudaErrorInvalidValue;
    bytes = found->second.bytes;
    allocations.erase(found);
  }
  // It need not wait for the GPU: what is still to be done with that memory ends the process.
  if (anneal::emulate::late()) (void)mprotect(memory, bytes, PROT_NONE);
  else std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  if (posix_memalign(memory, 256, bytes) != 0) return cudaErrorMemoryAllocation;
  std::lock_guard lock(mutex);
  pinned[static_cast<const char*>(*memory)] = {bytes, chosen};
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  {
    std::lock_guard lock(mutex);
    if (memory && pinned.erase(static_cast<const char*>(memory)) == 0) return cudaErrorInvalidValue;
  }
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

cudaError_t cudaMemcpyPeerAsync(void* to, int toDevice, const void* from, int fromDevice, size_t bytes,
                                cudaStream_t stream) {
  {
    std::lock_guard lock(mutex);
    if (!owns(toDevice, to, bytes) || !owns(fromDevice, from, bytes)) return cudaErrorInvalidValue;
  }
  if (anneal::emulate::defers(stream)) anneal::emulate::defer(stream, [=] { std::memmove(to, from, bytes); });
  else std::memmove(to, from, bytes);
  return cudaSuccess;
}
