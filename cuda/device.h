#pragma once
#include <cuda_runtime.h>

#include <condition_variable>
#include <deque>
#include <mutex>

#include "runtime/backend.h"
#include "runtime/executor.h"
#include "runtime/pool.h"
#include "runtime/recorder.h"
#include "staging.h"

namespace anneal::cuda {

/// What a kernel that finds a mistake in its data leaves behind: the first of them wins. See Faults.
struct FaultRecord {
  int set;  // 1 + the number of the site
  int64_t a, b, c, d;
};

/// A GPU as a stream: an executor thread starts kernels in order on one CUDA stream; another thread waits for what has
/// been computed, so that starting never waits.
class CudaDevice : public Device, public Recorder {
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
  void quiesce() override { executor_.quiesce(); }
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
  int index() const { return index_; }
  int multiprocessors() const { return multiprocessors_; }
  /// 90 for compute capability 9.0.
  int capability() const { return capability_; }
  /// Memory for kernels, on the executor's thread: see Scratch.
  Ref<Block> scratch(size_t bytes);
  /// Where kernels report mistakes in their data.
  FaultRecord* faults() const { return faults_; }

 private:
  class Graph;
  struct Mark {
    uint64_t jobs;  // done when the event has come
    cudaEvent_t event;
  };
  struct Waiting {
    cudaEvent_t event;
    std::function<void()> function;
  };
  uint64_t finished() const;
  void mark();
  void run(Task& task);
  void waitLoop();
  void copyIn(const Ref<Block>& to, size_t at, Staging& from, Staging::Buffer* buffer, size_t bytes);
  void throwFaults();
  void throwOwnFaults();
  void dependOn(CudaDevice& other);
  void reach(const CudaDevice& peer) const;
  void forbid(std::byte* data, size_t bytes);
  Ref<Block> allowed(Ref<Block> block);
  cudaEvent_t takeEvent() const;
  void giveEvent(cudaEvent_t event) const;
  void activate() const;
  std::byte* allocateMemory(size_t bytes);
  void freeMemory(std::byte* memory);
  void pinFor(Graph& graph, Block& block);

  const int index_, ordinal_;
  std::string hardware_;
  int multiprocessors_ = 1, capability_ = 0;
  cudaStream_t stream_ = nullptr, in_ = nullptr, out_ = nullptr;
  cudaStream_t recorder_ = nullptr, now_ = nullptr;  // now_: stream_ or recorder_
  Graph* graph_ = nullptr;                           // that is being recorded
  FaultRecord* faults_ = nullptr;
  // Other GPUs whose results came here: their faults are this one's, too.
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
  Executor executor_;
};

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

/// A place in the host's code whose kernels may find mistakes in their data: `describe` makes the error from what the
/// kernel left. In kernels: report(record, site, a, b, c, d).
class FaultSite {
 public:
  explicit FaultSite(std::function<Error(const FaultRecord&)> describe);
  int number() const { return number_; }

 private:
  int number_;
};

#if defined(__CUDACC__) || defined(ANNEAL_CUDA_EMULATE)
/// Leaves a mistake that a kernel has found; the first is kept, until the next await rejects with it.
__device__ inline void report(FaultRecord* record, int site, int64_t a, int64_t b = 0, int64_t c = 0, int64_t d = 0) {
  if (atomicCAS(&record->set, 0, site + 1) != 0) return;
  record->a = a;
  record->b = b;
  record->c = c;
  record->d = d;
}
#endif

}  // namespace anneal::cuda
