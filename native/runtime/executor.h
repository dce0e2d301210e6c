#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "runtime/device.h"

namespace anneal {

/// A thread that runs what is submitted, in order: the host side of a device's stream. Lives as long as the process.
class Executor {
 public:
  struct Hooks {
    std::function<void()> begin;       // on the new thread, before anything else
    std::function<void(Task&)> run;    // runs a task; does not throw
    std::function<void()> caughtUp{};  // if given: all that was queued has been run, and nothing comes for a while
  };
  explicit Executor(Hooks hooks);
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  void submit(Task&& task) { push({std::move(task), nullptr}); }
  void enqueue(std::function<void()> function) { push({{}, std::move(function)}); }
  /// Waits until all that was submitted has been run; does nothing on the thread itself.
  void synchronize();
  /// See Device::quiesce: of all streams.
  static void quiesce();
  /// Calls `wait` in a job, on whose thread it is, that has to wait for another stream. Meanwhile the job does not
  /// count as running: the process may end.
  static void pause(const std::function<void()>& wait);
  /// Whether the calling thread is this one.
  bool here() const;
  uint64_t submitted() const { return submitted_.load(std::memory_order_acquire); }
  uint64_t completed() const { return completed_.load(std::memory_order_acquire); }

 private:
  struct Job {
    Task task;
    std::function<void()> function;
  };
  void push(Job&& job);
  void await(uint64_t left);
  void loop();
  void enter();
  void run(Job& job);
  static void settle();
  bool waitForWork();

  const Hooks hooks_;
  std::mutex mutex_;
  std::condition_variable work_, progress_;
  std::vector<Job> queue_;
  std::atomic<size_t> queued_{0};
  std::atomic<uint64_t> submitted_{0}, completed_{0};
  std::atomic<bool> parked_{false};
  std::mutex running_;  // held while a job runs, but for its pauses
};

/// What `work` throws, on a stream's thread, where nothing else catches it; null: nothing.
std::shared_ptr<const Error> faultOf(const std::function<void()>& work);
/// Runs the kernel that `row` has on `device`. A failure marks the outputs' blocks, and is handed on by kernels that
/// read marked blocks, but for updates: these then keep what there was.
void runKernel(Device& device, const Row& row, const void* attrs, std::span<const View> in, std::span<const View> out);
/// Puts the value of `old`, maybe one without memory, into `to`, unless it is there. On the stream's thread.
void keepValue(Device& device, const View& to, const View& old);
/// Gives the outputs of an update the values of their donors, and the faults of these.
void keepDonors(Device& device, const Row& row, std::span<const View> in, std::span<const View> out);

}  // namespace anneal
