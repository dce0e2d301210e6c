#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/ref.h"
#include "core/spec.h"
#include "runtime/task.h"

namespace anneal {

enum class DeviceType : uint8_t { Cpu, Cuda };
inline constexpr int kDeviceTypes = 2;

/// The memory behind one or more tensors. It belongs to a device's pool, to which it returns with its last reference,
/// or else is foreign, or symbolic: without memory. `fault` belongs to the device's stream: it holds the error of the
/// task that should have written the block, and travels to whatever reads it.
struct Block : public RefCounted {
  enum class Kind : uint8_t { Pooled, Foreign, Symbolic };
  explicit Block(Kind of) : kind(of) {}
  const Kind kind;
  std::byte* data = nullptr;
  size_t bytes = 0;     // as asked for
  size_t capacity = 0;  // as allocated, of a pooled one
  uint64_t stamp = 0;   // tells this value from others that the memory has held; 0: not asked for yet (see stampOf)
  std::shared_ptr<const Error> fault;
};

struct MemoryStats {
  size_t used = 0;      // bytes of live tensors, as allocated
  size_t pooled = 0;    // bytes kept for reuse
  size_t peak = 0;      // highest `used` since the last reset
  size_t limit = 0;     // 0: none
  int64_t blocks = 0;   // live blocks
  uint64_t misses = 0;  // allocations that the operating system had to serve
};

/// A stream of tasks in order, with a pool of memory that follows that order: memory may be released while tasks that
/// use it are still queued, because whoever gets it next comes later in the queue.
class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceType type() const = 0;
  /// As users name it: "cpu", "cuda:0".
  virtual std::string name() const = 0;
  /// What it is: "NVIDIA H100 80GB HBM3".
  virtual std::string hardware() const { return name(); }

  /// Uninitialised memory for a tensor of `spec`, 64-byte aligned. With `hostWrites` no queued task still uses it, so
  /// the caller may fill it at once. Throws an Error (Memory) that lists the largest live tensors.
  virtual Ref<Block> allocate(const Spec& spec, bool hostWrites) = 0;
  virtual MemoryStats memory() const = 0;
  virtual void resetPeak() = 0;
  virtual void setMemoryLimit(size_t bytes) = 0;
  virtual void emptyCache() = 0;

  /// Queues a task.
  virtual void submit(Task&& task) = 0;
  /// Runs a cheap kernel on the calling thread if nothing is queued. False: it is to be submitted.
  virtual bool runNow(const Row& row, const void* attrs, std::span<const View> in, std::span<const View> out) = 0;
  /// Queues a function to run on the stream's own thread after all that was submitted before it.
  virtual void enqueue(std::function<void()> function) = 0;
  /// Calls a function, on a thread of the device, when all that was submitted before is done, also by a GPU. The stream
  /// goes on meanwhile, except on the CPU.
  virtual void whenDone(std::function<void()> function) = 0;
  /// Copies host memory, which may go when this returns, into a block that was allocated with `hostWrites`, in the
  /// order of the stream.
  virtual void upload(const Ref<Block>& to, const void* from, size_t bytes) = 0;
  /// Copies the device's memory to the host now, blocking. Whatever writes it is done: see whenDone.
  virtual void readNow(const std::byte* from, void* to, size_t bytes) = 0;
  /// Copies within the device's memory; on the stream's own thread.
  virtual void move(std::byte* to, const std::byte* from, size_t bytes) = 0;
  /// Waits until all that was submitted is done.
  virtual void synchronize() = 0;
  virtual bool idle() const = 0;
  /// Lets the task in hand end and from then on runs tasks only while someone waits for them. For the end of the
  /// process, when static objects that kernels use (those of libraries, too) are destroyed.
  virtual void quiesce() {}
};

/// The device of that type; throws an Error (Device) with the remedy where there is none.
Device& device(DeviceType type = DeviceType::Cpu, int index = 0);
/// The device called "cpu", "cuda" or "cuda:1", or for "auto" the first GPU, or the CPU where there is none.
Device& deviceNamed(std::string_view name);
/// All devices of this machine that can be used.
std::vector<Device*> allDevices();
/// Those that were asked for so far.
std::vector<Device*> startedDevices();
/// Why there is no GPU, with the remedy; empty where there is one.
std::string cudaProblem();

}  // namespace anneal
