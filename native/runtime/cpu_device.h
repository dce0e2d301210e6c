#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

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
  void emptyCache() override { pool_.trim(); }
  void submit(Task&& task) override { push({std::move(task), nullptr}); }
  bool runNow(const Row& row, const void* attrs, std::span<const View> in, std::span<const View> out) override;
  void enqueue(std::function<void()> function) override;
  void synchronize() override;
  void quiesce() override;
  bool idle() const override {
    return completed_.load(std::memory_order_acquire) == submitted_.load(std::memory_order_acquire);
  }

 private:
  void forbid(std::byte* data, size_t bytes);
  struct Job {
    Task task;
    std::function<void()> function;
  };
  void push(Job&& job);
  void await(uint64_t left);
  void loop();
  bool waitForWork();

  std::mutex mutex_;
  std::condition_variable work_, progress_;
  std::vector<Job> queue_;
  std::atomic<size_t> queued_{0};
  std::atomic<uint64_t> submitted_{0}, completed_{0};
  std::atomic<bool> parked_{false};
  std::atomic<int> waiters_{0};
  std::mutex running_;  // held while a task runs
  std::condition_variable resume_;
  std::atomic<bool> quiet_{false};  // tasks run only while there are waiters
  Pool pool_;
};

/// For builds that track access: lets the kernel that comes next write its outputs. What it leaves unwritten is NaN, as
/// a float, and not what was there before.
void allowOutputs(std::span<const View> in, std::span<const View> out);

}  // namespace anneal
