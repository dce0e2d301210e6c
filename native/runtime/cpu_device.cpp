#include "runtime/cpu_device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/access.h"
#include "op/row.h"

namespace anneal {
namespace {

thread_local bool streamThread = false;
constexpr size_t kMapped = size_t(1) << 20;
constexpr size_t kHugePage = size_t(1) << 21;
// A caller this far ahead of the stream waits: a loop that never awaits must not fill the memory with tasks.
constexpr uint64_t kMostQueued = uint64_t(1) << 16;
constexpr auto kSpin = std::chrono::microseconds(50);

std::byte* allocateMemory(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, bytes < kMapped ? 64 : kHugePage, bytes) != 0) return nullptr;
  if (bytes >= kMapped) madvise(memory, bytes, MADV_HUGEPAGE);
  forbidAccess(memory, bytes);  // until a tensor is in it
  return static_cast<std::byte*>(memory);
}

/// Runs a kernel. A failure marks the outputs' blocks, and is handed on by kernels that read marked blocks.
void runKernel(const Row& row, const void* attrs, std::span<const View> in, std::span<const View> out) {
  if constexpr (kTracksAccess) allowOutputs(in, out);
  std::shared_ptr<const Error> fault;
  for (const View& v : in)
    if (v.block && v.block->fault) [[unlikely]]
      fault = v.block->fault;
  if (!fault) [[likely]] {
    try {
      row.kernels[size_t(DeviceType::Cpu)](attrs, in, out);
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

CpuDevice::CpuDevice()
    : pool_(Pool::Source{.allocate = allocateMemory,
                         .free = [](std::byte* p, size_t) { std::free(p); },
                         .submitted = [this] { return submitted_.load(std::memory_order_acquire); },
                         .completed = [this] { return completed_.load(std::memory_order_acquire); },
                         .synchronize = [this] { synchronize(); },
                         .released = kTracksAccess ? std::function<void(std::byte*, size_t)>(
                                                         [this](auto... block) { forbid(block...); })
                                                   : nullptr},
            physicalMemory()) {
  Registry::get().rows();
  std::thread([this] { loop(); }).detach();  // lives as long as the process
}

/// Queued tasks may still use the memory; no later one may, until it holds another tensor.
void CpuDevice::forbid(std::byte* data, size_t bytes) {
  if (idle()) forbidAccess(data, bytes);
  else enqueue([data, bytes] { forbidAccess(data, bytes); });
}

bool CpuDevice::runNow(const Row& row, const void* attrs, std::span<const View> in, std::span<const View> out) {
  if (!idle()) return false;
  runKernel(row, attrs, in, out);
  return true;
}

void CpuDevice::enqueue(std::function<void()> function) { push({{}, std::move(function)}); }

/// Waits until at most `left` tasks of those submitted so far are to be done.
void CpuDevice::await(uint64_t left) {
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

void CpuDevice::push(Job&& job) {
  if (submitted_.load() - completed_.load() > kMostQueued && !streamThread) await(kMostQueued / 2);
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
    submitted_.fetch_add(1, std::memory_order_release);
    queued_.store(queue_.size());
  }
  if (parked_.load()) work_.notify_one();
}

void CpuDevice::synchronize() {
  if (!streamThread) await(0);
}

void CpuDevice::quiesce() {
  quiet_.store(true);
  std::lock_guard running(running_);
}

bool CpuDevice::waitForWork() {
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

void CpuDevice::loop() {
  streamThread = true;
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
      {
        std::unique_lock running(running_);
        if (quiet_.load()) resume_.wait(running, [&] { return waiters_.load() > 0; });
        if (job.function) job.function();
        else runKernel(*job.task.row, job.task.attrs.get(), job.task.in(), job.task.out());
        job = {};
      }
      completed_.fetch_add(1, std::memory_order_release);
      if (waiters_.load()) {
        std::lock_guard lock(mutex_);
        progress_.notify_all();
      }
    }
    batch.clear();
  }
}

Device& device(DeviceType type) {
  require(type == DeviceType::Cpu, Code::Device,
          "device 'cuda' is not available: this build of Anneal has no CUDA backend; use device: 'cpu'");
  static auto* cpu = new CpuDevice;  // never destroyed: its thread runs until the process is gone
  return *cpu;
}

}  // namespace anneal
