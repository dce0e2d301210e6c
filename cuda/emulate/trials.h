#pragma once
// What comparing ways to compute something needs of CUDA: see cuda/timing.h. Times are made up, so that now one, now
// another way is the fastest.
#include <cuda_runtime.h>

enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone = 0, cudaStreamCaptureStatusActive = 1 };

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
inline cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  thread_local unsigned asked = 0;
  *milliseconds = float(1 + ++asked * 5 % 7);
  return cudaSuccess;
}
