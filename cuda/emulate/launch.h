#pragma once
#include <functional>

#include "cuda_runtime.h"

namespace anneal::emulate {

/// Runs `thread` once for every thread of the grid. The threads of a block take turns on one thread of the host: each
/// runs until it ends or waits for others.
void runGrid(dim3 grid, dim3 block, size_t shared, const std::function<void()>& thread);

/// Whether what the stream is given is recorded instead of run.
bool recording(cudaStream_t stream);
/// Whether the calling thread records in a mode that forbids calls which may wait for other work; that spoils the
/// recording.
bool forbidden();
/// Adds to what the stream records.
void record(cudaStream_t stream, std::function<void()> node);

}  // namespace anneal::emulate
