// What was recorded of a stream, as a CUDA graph.
#include <set>

#include "core/access.h"
#include "device.h"
#include "launch.h"

namespace anneal::cuda {

/// It runs in the order of the stream, as everything does: so the working memory that its kernels were recorded with
/// may serve others between its runs, but must stay where it is.
class CudaDevice::Graph : public Recording {
 public:
  explicit Graph(CudaDevice& device) : device_(device), needs_(std::make_shared<Needs>()) {}
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  /// The GPU may still be at it.
  ~Graph() override {
    device_.whenDone([&device = device_, needs = std::move(needs_)] {
      (void)cudaSetDevice(device.ordinal_);
      if (needs->executable) (void)cudaGraphExecDestroy(needs->executable);
      for (Block* block : needs->memory) device.scratch_.unpin(*block);
    });
  }

  void replay() override {
    if constexpr (kTracksAccess)
      for (Block* block : needs_->memory) allowAccess(block->data, block->capacity);
    if (needs_->faults) device_.faults_.willRun(needs_->faults);
    check(cudaGraphLaunch(needs_->executable, device_.stream_), "starting a graph");
    if constexpr (kTracksAccess)
      for (Block* block : needs_->memory) forbidAccess(block->data, block->capacity);
  }

  void pin(Block& block) {
    if (needs_->memory.insert(&block).second) device_.scratch_.pin(block);
  }
  void keep(std::shared_ptr<const void> needed) { needs_->others.push_back(std::move(needed)); }

  /// Where its kernels leave mistakes that they find in their data.
  FaultRecord* faults() {
    if (!needs_->faults) needs_->faults = device_.faults_.share();
    return needs_->faults->records;
  }

  /// The same; null: none of its kernels looks for any.
  FaultRecord* faultsSoFar() const { return needs_->faults ? needs_->faults->records : nullptr; }

  void make(cudaGraph_t from) {
    cudaError_t made = cudaGraphInstantiate(&needs_->executable, from, 0);
    if (made == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      device_.emptyCache();
      made = cudaGraphInstantiate(&needs_->executable, from, 0);
    }
    (void)cudaGraphDestroy(from);
    if (made != cudaSuccess) needs_->executable = nullptr;
    check(made, "making a CUDA graph of a compiled function");
  }

 private:
  struct Needs {
    cudaGraphExec_t executable = nullptr;
    std::set<Block*> memory;
    std::shared_ptr<SharedRecord> faults;
    std::vector<std::shared_ptr<const void>> others;
  };
  CudaDevice& device_;
  std::shared_ptr<Needs> needs_;
};

std::unique_ptr<Recording> CudaDevice::record(const std::function<void()>& work) {
  auto graph = std::make_unique<Graph>(*this);
  // On a stream of its own: others may ask for the state of the first one meanwhile, which would spoil the recording.
  check(cudaStreamBeginCapture(recorder_, cudaStreamCaptureModeRelaxed), "recording a CUDA graph");
  now_ = recorder_;
  graph_ = graph.get();
  faults_.forget();
  std::exception_ptr failed;
  try {
    work();
  } catch (...) {
    failed = std::current_exception();
  }
  now_ = stream_;
  graph_ = nullptr;
  faults_.forget();
  cudaGraph_t recorded = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(recorder_, &recorded);
  if (failed) {
    if (recorded) (void)cudaGraphDestroy(recorded);
    (void)cudaGetLastError();
    std::rethrow_exception(failed);
  }
  check(ended, "recording a CUDA graph");
  graph->make(recorded);
  return graph;
}

FaultRecord* CudaDevice::faultsOf(Graph& graph) { return graph.faults(); }

const int* CudaDevice::failed() { return graph_ ? faults_.failed(graph_->faultsSoFar()) : faults_.failed(); }

void CudaDevice::pinFor(Graph& graph, Block& block) { graph.pin(block); }
void CudaDevice::keep(std::shared_ptr<const void> needed) {
  if (graph_) graph_->keep(std::move(needed));
}

}  // namespace anneal::cuda
