#pragma once
#include "device.h"
#include "launch.h"
#if defined(ANNEAL_CUDA_EMULATE)
#include "emulate/trials.h"
#endif

namespace anneal::cuda {

/// Scalar operations from which ways to compute something are compared by running them.
constexpr double kWorthTiming = 1e8;

/// Whether what the calling thread starts is recorded: then nothing can be tried.
inline bool capturing() {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  (void)cudaStreamIsCapturing(stream(), &status);
  return status != cudaStreamCaptureStatusNone;
}

/// The least time, in milliseconds, of a few runs of what succeeds; 0 for what does not.
template <class F>
float timeOf(F&& once) {
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "event");
  check(cudaEventCreate(&end), "event");
  float least = 0;
  bool good = once();  // also warms up
  for (int i = 0; i < 3 && good; ++i) {
    check(cudaEventRecord(begin, stream()), "event");
    if (!(good = once())) break;
    check(cudaEventRecord(end, stream()), "event");
    check(cudaEventSynchronize(end), "event");
    float took = 0;
    check(cudaEventElapsedTime(&took, begin, end), "event");
    if (i == 0 || took < least) least = took;
  }
  (void)cudaEventDestroy(begin);
  (void)cudaEventDestroy(end);
  return good ? least : 0;
}

}  // namespace anneal::cuda
