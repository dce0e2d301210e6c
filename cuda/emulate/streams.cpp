// Streams, events and recorded graphs of the emulator. What CUDA forbids while a stream records is refused here
// too, and spoils the recording.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "launch.h"

struct EmulatedGraph {
  std::vector<std::function<void()>> nodes;
};

struct EmulatedStream {
  std::unique_ptr<EmulatedGraph> graph;  // while it records
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool spoilt = false;
};

struct EmulatedEvent {
  EmulatedStream* recordedBy = nullptr;  // a stream that was recording then
};

namespace {

thread_local EmulatedStream* mine = nullptr;  // that this thread records

bool records(const EmulatedStream* stream) { return stream && stream->graph; }

cudaError_t refuse(EmulatedStream* stream) {
  stream->spoilt = true;
  return cudaErrorStreamCaptureUnsupported;
}

/// Calls that may wait for other work are forbidden to a thread that records, but in the relaxed mode.
bool unsafeNow() { return mine && records(mine) && mine->mode != cudaStreamCaptureModeRelaxed; }

/// Tests name what is to fail: ANNEAL_EMULATE_FAIL=capture, or instantiate.
bool toFail(std::string_view what) {
  const char* named = std::getenv("ANNEAL_EMULATE_FAIL");
  return named && what == named;
}

cudaError_t give(EmulatedStream* stream, std::function<void()> work) {
  if (records(stream)) stream->graph->nodes.push_back(std::move(work));
  else work();
  return cudaSuccess;
}

cudaError_t await(const EmulatedEvent* event) {
  if (records(event->recordedBy)) return refuse(event->recordedBy);
  return unsafeNow() ? refuse(mine) : cudaSuccess;
}

cudaError_t await(EmulatedStream* stream) {
  if (records(stream)) return refuse(stream);
  return unsafeNow() ? refuse(mine) : cudaSuccess;
}

}  // namespace

namespace anneal::emulate {

bool recording(cudaStream_t stream) { return records(stream); }
bool forbidden() { return unsafeNow() && refuse(mine) != cudaSuccess; }
void record(cudaStream_t stream, std::function<void()> node) { stream->graph->nodes.push_back(std::move(node)); }

}  // namespace anneal::emulate

const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    default: return "error";
  }
}
const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: return "error";
  }
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return give(stream, [=] { std::memmove(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return give(stream, [=] { std::memset(to, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return await(stream); }
cudaError_t cudaStreamQuery(cudaStream_t stream) { return await(stream); }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const bool foreign = records(stream) && event->recordedBy != stream;  // would wait for what is not recorded
  return foreign ? refuse(stream) : cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->recordedBy = records(stream) ? stream : nullptr;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) { return await(event); }
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return await(event); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (records(stream)) return cudaErrorIllegalState;
  stream->graph = std::make_unique<EmulatedGraph>();
  stream->mode = mode;
  stream->spoilt = toFail("capture");
  mine = stream;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!records(stream)) return cudaErrorIllegalState;
  const auto recorded = std::exchange(stream->graph, nullptr).release();
  mine = nullptr;
  if (!stream->spoilt) {
    *graph = recorded;
    return cudaSuccess;
  }
  delete recorded;
  return cudaErrorStreamCaptureInvalidated;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  if (toFail("instantiate")) return cudaErrorMemoryAllocation;
  *executable = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (records(stream)) return refuse(stream);
  for (const auto& node : executable->nodes) node();
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
