#pragma once
#include <cuda_runtime.h>

#include <condition_variable>
#include <deque>
#include <mutex>

#include "faults.h"
#include "runtime/backend.h"
#include "runtime/executor.h"
#include "runtime/follower.h"
#include "runtime/pool.h"
#include "runtime/recorder.h"
#include "staging.h"

namespace anneal::cuda {

/// A GPU as a stream: an executor thread starts kernels in order on one CUDA stream; another thread waits for what has
/// been computed, so that starting never waits.
class CudaDevice : public Device, public Recorder, public Follower {
 public:
  /// `ordinal` is the number by which CUDA knows it.
  CudaDevice(int index, int ordinal);
  DeviceType type() const override { return DeviceType::Cuda; }
  std::string name() const override { return "cuda:" + std::to_string(index_); }
  std::string hardware() const override { return hardware_; }
  Ref<Block> allocate(const Spec& spec, bool hostWrites) override;
  MemoryStats memory() const override;
  void resetPeak() override { pool_.resetPeak(); }
  void setMemoryLimit(size_t bytes) override { pool_.setLimit(bytes); }
  void emptyCache() override {
    pool_.trim();
    scratch_.trim();
  }
  void submit(Task&& task) override { executor_.submit(std::move(task)); }
  bool runNow(const Row&, const void*, std::span<const View>, std::span<const View>) override { return false; }
  void enqueue(std::function<void()> function) override { executor_.enqueue(std::move(function)); }
  void whenDone(std::function<void()> function) override;
  void upload(const Ref<Block>& to, const void* from, size_t bytes) override;
  void readNow(const std::byte* from, void* to, size_t bytes) override;
  void move(std::byte* to, const std::byte* from, size_t bytes) override;
  void synchronize() override;
  void quiesce() override;
  bool idle() const override { return executor_.submitted() == finished(); }
  /// Copies what another GPU has computed, directly where the two can reach each other's memory. Nothing waits but this
  /// device's stream.
  void pull(CudaDevice& from, const Transfer& what);

  /// A CUDA graph: see graph.cpp.
  std::unique_ptr<Recording> record(const std::function<void()>& work) override;
  void moveAll(std::span<const Move> moves) override;
  void put(std::byte* to, std::span<const Slot> values) override;

  /// The stream that kernels are started on; while a graph is recorded another, which records.
  cudaStream_t stream() const { return now_; }
  /// Has the graph that is being recorded keep what its kernels need as long as it may run; nothing if none is.
  void keep(std::shared_ptr<const void> needed);
  /// Whether a graph is being recorded: nothing may wait, and what is started does not run now.
  bool recording() const { return graph_ != nullptr; }
  int index() const { return index_; }
  int multiprocessors() const { return multiprocessors_; }
  /// 90 for compute capability 9.0.
  int capability() const { return capability_; }
  /// Memory for kernels, on the executor's thread: see Scratch.
  Ref<Block> scratch(size_t bytes);
  /// Where kernels report mistakes in their data.
  FaultRecord* faults() {
    faults_.forget();
    return graph_ ? faultsOf(*graph_) : faults_.record();
  }
  /// Where kernels read whether one before them in the job in hand, or one that it heeds, has found a mistake in its
  /// data (not 0), so that what they were to update stays as it is. Null: none has looked for any.
  const int* failed();
  std::shared_ptr<const Error> heed(std::span<Block* const> reads) override;
  void ran(std::span<Block* const> reads, std::span<Block* const> writes, std::span<const Kept> kept) override;
  /// Makes this the device that the calling thread's calls of the runtime are for.
  void activate() const;
  /// Jobs of the executor that the GPU is known to have done.
  uint64_t finished() const;
  /// Waits for the GPU: where there is no other way.
  void drain();

 private:
  class Graph;
  struct Mark {
    uint64_t jobs;  // done when the event has come
    cudaEvent_t event;
  };
  struct Waiting {
    uint64_t jobs;  // done when the event has come
    cudaEvent_t event;
    std::function<void()> function;
  };
  void mark();
  void reached(uint64_t jobs) const;
  uint64_t job() const { return executor_.completed() + 1; }  // in hand
  void run(Task& task);
  void waitLoop();
  void copyIn(const Ref<Block>& to, size_t at, Staging& from, Staging::Buffer* buffer, size_t bytes);
  void throwState() const;
  void throwFaults(const std::byte* memory);
  void dependOn(CudaDevice& other);
  void reach(const CudaDevice& peer) const;
  void forbid(std::byte* data, size_t bytes);
  Ref<Block> allowed(Ref<Block> block);
  cudaEvent_t takeEvent() const;
  void giveEvent(cudaEvent_t event) const;
  std::byte* allocateMemory(size_t bytes);
  void freeMemory(std::byte* memory);
  void pinFor(Graph& graph, Block& block);
  FaultRecord* faultsOf(Graph& graph);

  const int index_, ordinal_;
  std::string hardware_;
  int multiprocessors_ = 1, capability_ = 0;
  cudaStream_t stream_ = nullptr, in_ = nullptr, out_ = nullptr;
  cudaStream_t recorder_ = nullptr, now_ = nullptr;  // now_: stream_ or recorder_
  Graph* graph_ = nullptr;                           // that is being recorded
  // Other GPUs whose results came here: their errors are this one's, too.
  std::mutex sourcesMutex_;
  std::vector<CudaDevice*> sources_;
  // Buffers of callers, of the executor, and of whoever reads: none of them waits for another's.
  Staging uploads_, ownUploads_, downloads_;
  // Progress of the GPU: events after so many jobs of the executor. And events to be used again.
  mutable std::mutex progress_;
  mutable std::deque<Mark> marks_;
  mutable uint64_t finished_ = 0;
  mutable std::vector<cudaEvent_t> events_;
  // Functions for when the stream has come to a point.
  std::mutex waitingMutex_;
  std::condition_variable wake_;
  std::deque<Waiting> waiting_;
  size_t unsettled_ = 0;  // waiting, and the one that is being called
  std::condition_variable settled_;
  Pool pool_;
  // Working memory of kernels. It is taken and given back when they are started, not when their tasks are queued as
  // tensors are: a block that the pool has back may still be read by tasks that are queued.
  Pool scratch_;
  Faults faults_;
  Executor executor_;
};

/// Waits for an event: at first without letting the thread sleep, because the next value is often near.
cudaError_t await(cudaEvent_t event);

/// What the card of that ordinal is called.
std::string hardwareOf(int ordinal);

/// The device whose executor the calling thread is: kernels are started there only.
CudaDevice& current();
inline cudaStream_t stream() { return current().stream(); }

/// Working memory of a kernel, until this goes: in the order of the stream.
class Scratch {
 public:
  explicit Scratch(size_t bytes);
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(block_->data);
  }

 private:
  Ref<Block> block_;
};

}  // namespace anneal::cuda
