#pragma once
#include <cuda_runtime.h>

#include <mutex>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace anneal::cuda {

/// What one GPU brings to a sum over several, and where it gets the result.
struct Part {
  int ordinal;  // the number by which CUDA knows the GPU
  const void* from;
  void* to;
};

/// Whether NCCL is there in a version that serves, and ANNEAL_CUDA_NCCL=0 does not forbid it.
bool ncclServes();
/// The library's version, or why it cannot be used and what to do.
std::string describeNccl();

/// Puts the sum of `count` elements of all parts, or their mean, into each of them: when `stream`, of the first part's
/// GPU, has done what it was given so far. It goes on when all have their results. GPUs that meet for the first time
/// are connected first, which takes about a second. Throws an Error (Device) with what NCCL says.
void allReduceByNccl(std::vector<Part> parts, DType dtype, size_t count, bool mean, cudaStream_t stream);

/// Throws the error that NCCL has met, since it was called, on connections of that GPU.
void throwNcclErrors(int ordinal);

/// Held while kernels are started that wait for each other on several GPUs, and by calls of CUDA that may wait for what
/// is running: such a call must not come between these kernels.
std::mutex& startingTogether();

}  // namespace anneal::cuda
