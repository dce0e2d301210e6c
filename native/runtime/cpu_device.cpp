#include "runtime/cpu_device.h"

#include <sys/mman.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/access.h"
#include "op/row.h"

namespace anneal {
namespace {

thread_local bool streamThread = false;
constexpr size_t kMapped = size_t(1) << 20;
constexpr size_t kHugePage = size_t(1) << 21;

std::byte* allocateMemory(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, bytes < kMapped ? 64 : kHugePage, bytes) != 0) return nullptr;
  if (bytes >= kMapped) madvise(memory, bytes, MADV_HUGEPAGE);
  forbidAccess(memory, bytes);  // until a tensor is in it
  return static_cast<std::byte*>(memory);
}

/// Runs a kernel; see runKernel.
void run(CpuDevice& device, const Row& row, const void* attrs, std::span<const View> in, std::span<const View> out) {
  if constexpr (kTracksAccess) allowOutputs(in, out);
  runKernel(device, row, attrs, in, out);
}

size_t physicalMemory() { return size_t(sysconf(_SC_PHYS_PAGES)) * size_t(sysconf(_SC_PAGE_SIZE)); }

}  // namespace

bool onStreamThread() { return streamThread; }

void allowOutputs(std::span<const View> in, std::span<const View> out) {
  for (const View& v : out) {
    const size_t bytes = size_t(v.size()) * itemSize(v.dtype);
    const auto below = [&](const View& i) { return i.memory == v.memory && i.size() > 0; };
    if (bytes == 0 || std::any_of(in.begin(), in.end(), below)) continue;  // nothing is written, or in place
    allowAccess(v.memory, bytes);
    std::memset(v.memory, 0xff, bytes);
  }
}

void CpuDevice::emptyCache() {
  pool_.trim();
#ifdef __GLIBC__
  malloc_trim(
      0);  // what glibc has freed of blocks below its threshold, which grows to 32 MiB, stays resident otherwise
#endif
}

CpuDevice::CpuDevice()
    : pool_(Pool::Source{.allocate = allocateMemory,
                         .free = [](std::byte* p, size_t) { std::free(p); },
                         .submitted = [this] { return executor_.submitted(); },
                         .completed = [this] { return executor_.completed(); },
                         .synchronize = [this] { synchronize(); },
                         .released = kTracksAccess ? std::function<void(std::byte*, size_t)>(
                                                         [this](auto... block) { forbid(block...); })
                                                   : nullptr},
            physicalMemory()),
      executor_({.begin = [] { streamThread = true; },
                 .run = [this](Task& task) { run(*this, *task.row, task.attrs.get(), task.in(), task.out()); }}) {
  Registry::get().rows();
}

/// Queued tasks may still use the memory; no later one may, until it holds another tensor.
void CpuDevice::forbid(std::byte* data, size_t bytes) {
  if (idle()) forbidAccess(data, bytes);
  else enqueue([data, bytes] { forbidAccess(data, bytes); });
}

bool CpuDevice::runNow(const Row& row, const void* attrs, std::span<const View> in, std::span<const View> out) {
  if (!idle()) return false;
  run(*this, row, attrs, in, out);
  return true;
}

void CpuDevice::upload(const Ref<Block>& to, const void* from, size_t bytes) { std::memcpy(to->data, from, bytes); }
void CpuDevice::readNow(const std::byte* from, void* to, size_t bytes) {
  if (bytes) std::memcpy(to, from, bytes);
}
void CpuDevice::move(std::byte* to, const std::byte* from, size_t bytes) {
  allowAccess(to, bytes);
  std::memcpy(to, from, bytes);
}

}  // namespace anneal
