// Streams, events and recorded graphs of the emulator. What CUDA forbids while a stream records is refused here
// too, and spoils the recording.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "late.h"
#include "launch.h"
#include "trials.h"

using anneal::emulate::Backlog;
using anneal::emulate::Memory;

struct EmulatedGraph {
  std::vector<std::function<void()>> nodes;
};

struct EmulatedStream {
  const int device = anneal::emulate::currentDevice();
  std::unique_ptr<EmulatedGraph> graph;  // while it records
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool spoilt = false;
  Backlog backlog;
};

struct EmulatedEvent {
  const int device = anneal::emulate::currentDevice();
  EmulatedStream* recordedBy = nullptr;  // a stream that was recording then
  // Where it was recorded: when that stream had been given so much.
  EmulatedStream* stream = nullptr;
  uint64_t until = 0;
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
  if (anneal::emulate::defers(stream)) anneal::emulate::defer(stream, std::move(work));
  else work();
  return cudaSuccess;
}

/// Whether the state of what that stream does may be asked for.
cudaError_t mayAsk(EmulatedStream* recording) {
  if (records(recording)) return refuse(recording);
  return unsafeNow() ? refuse(mine) : cudaSuccess;
}

/// What is wrong with what has been done late, or `state`.
cudaError_t orFault(cudaError_t state) { return Backlog::fault().empty() ? state : cudaErrorLaunchFailure; }

cudaError_t query(EmulatedStream* stream, uint64_t until) {
  return orFault(!stream || stream->backlog.has(until) ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t wait(EmulatedStream* stream, uint64_t until) {
  if (stream) stream->backlog.run(until);
  return orFault(cudaSuccess);
}

/// Whether the direction of a copy is that of its memory.
bool fits(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool toDevice = anneal::emulate::memoryOf(to, bytes) == Memory::Device,
             fromDevice = anneal::emulate::memoryOf(from, bytes) == Memory::Device;
  switch (kind) {
    case cudaMemcpyHostToDevice: return toDevice && !fromDevice;
    case cudaMemcpyDeviceToHost: return !toDevice && fromDevice;
    case cudaMemcpyDeviceToDevice: return toDevice && fromDevice;
    default: return true;
  }
}

}  // namespace

namespace anneal::emulate {

bool defers(cudaStream_t stream) { return records(stream) || late(); }
bool forbidden() { return unsafeNow() && refuse(mine) != cudaSuccess; }
void defer(cudaStream_t stream, std::function<void()> work) {
  if (records(stream)) stream->graph->nodes.push_back(std::move(work));
  else stream->backlog.add(std::move(work));
}
void inOrder(cudaStream_t stream, std::function<void()> work) {
  if (late()) stream->backlog.add(std::move(work));
  else work();
}

void checkLaunch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
  const auto refuse = [](const std::string& what) { throw std::runtime_error("launch: " + what); };
  if (stream->device != currentDevice()) refuse("the stream belongs to another device than the thread has chosen");
  if (uint64_t(block.x) * block.y * block.z > 1024 || block.z > 64) refuse("a block has at most 1024 threads");
  if (block.x * block.y * block.z == 0) refuse("the block is empty");
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) refuse("the grid is too large");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) refuse("the grid is empty");
  if (shared > (size_t(227) << 10)) refuse("a block has at most 227 KiB of shared memory");
}

}  // namespace anneal::emulate

const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    default: return "error";
  }
}
const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorLaunchFailure: {
      static const std::string fault = Backlog::fault();
      return fault.c_str();
    }
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: return "error";
  }
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!fits(to, from, bytes, kind)) return cudaErrorInvalidValue;
  const bool pageable =
      anneal::emulate::memoryOf(to, bytes) == Memory::Other || anneal::emulate::memoryOf(from, bytes) == Memory::Other;
  if (pageable && !records(stream)) {  // such a copy has been made when the call returns
    (void)wait(stream, stream->backlog.given());
    std::memmove(to, from, bytes);
    return cudaSuccess;
  }
  return give(stream, [=] { std::memmove(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (anneal::emulate::memoryOf(to, bytes) != Memory::Device) return cudaErrorInvalidValue;
  return give(stream, [=] { std::memset(to, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const cudaError_t may = mayAsk(stream);
  return may == cudaSuccess ? wait(stream, stream->backlog.given()) : may;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const cudaError_t may = mayAsk(stream);
  return may == cudaSuccess ? query(stream, stream->backlog.given()) : may;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const bool foreign = records(stream) && event->recordedBy != stream;  // would wait for what is not recorded
  if (foreign) return refuse(stream);
  if (anneal::emulate::late() && !records(stream) && event->stream)
    stream->backlog.addWait(event->stream->backlog, event->until);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (event->device != stream->device) return cudaErrorInvalidResourceHandle;
  event->recordedBy = records(stream) ? stream : nullptr;
  event->stream = stream;
  event->until = stream->backlog.given();
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const cudaError_t may = mayAsk(event->recordedBy);
  return may == cudaSuccess ? query(event->stream, event->until) : may;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const cudaError_t may = mayAsk(event->recordedBy);
  return may == cudaSuccess ? wait(event->stream, event->until) : may;
}
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
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = records(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
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
  for (const auto& node : executable->nodes) give(stream, node);
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
