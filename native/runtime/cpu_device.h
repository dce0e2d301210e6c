#pragma once
#include "runtime/executor.h"
#include "runtime/pool.h"
#include "runtime/stream_thread.h"

namespace anneal {

/// The CPU as a stream: one thread runs what is submitted, in order, and is the only one to enter OpenMP and oneDNN.
class CpuDevice : public Device {
 public:
  CpuDevice();
  DeviceType type() const override { return DeviceType::Cpu; }
  std::string name() const override { return "cpu"; }
  Ref<Block> allocate(const Spec& spec, bool hostWrites) override { return pool_.allocate(spec, hostWrites); }
  MemoryStats memory() const override { return pool_.stats(); }
  void resetPeak() override { pool_.resetPeak(); }
  void setMemoryLimit(size_t bytes) override { pool_.setLimit(bytes); }
  void emptyCache() override;
  void submit(Task&& task) override { executor_.submit(std::move(task)); }
  bool runNow(const Row& row, const void* attrs, std::span<const View> in, std::span<const View> out) override;
  void enqueue(std::function<void()> function) override { executor_.enqueue(std::move(function)); }
  void whenDone(std::function<void()> function) override { executor_.enqueue(std::move(function)); }
  void upload(const Ref<Block>& to, const void* from, size_t bytes) override;
  void readNow(const std::byte* from, void* to, size_t bytes) override;
  void move(std::byte* to, const std::byte* from, size_t bytes) override;
  void synchronize() override { executor_.synchronize(); }
  void quiesce() override { Executor::quiesce(); }
  bool idle() const override { return executor_.completed() == executor_.submitted(); }

 private:
  void forbid(std::byte* data, size_t bytes);

  Pool pool_;
  Executor executor_;
};

/// For builds that track access: lets the kernel that comes next write its outputs. What it leaves unwritten is NaN, as
/// a float, and not what was there before.
void allowOutputs(std::span<const View> in, std::span<const View> out);

}  // namespace anneal
