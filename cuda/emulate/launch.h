#pragma once
#include <functional>

#include "cuda_runtime.h"
#include "translated.h"

namespace anneal::emulate {

/// Runs `thread` once for every thread of the grid. The threads of a block take turns on one thread of the host: each
/// runs until it ends or waits for others. `translated`: addresses of shared memory are PTX's.
void runGrid(dim3 grid, dim3 block, size_t shared, const std::function<void()>& thread, bool translated = false);
/// Throws where a GPU refuses a launch.
void checkLaunch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream);

/// Whether what the stream is given is not done at once: it is recorded, or done later.
bool defers(cudaStream_t stream);
void defer(cudaStream_t stream, std::function<void()> work);
/// Does something at its place in the stream, but not as a part of what is recorded.
void inOrder(cudaStream_t stream, std::function<void()> work);
/// Whether the calling thread records in a mode that forbids calls which may wait for other work; that spoils the
/// recording.
bool forbidden();

/// Whose memory that is, all of it.
enum class Memory { Device, Pinned, Other };
Memory memoryOf(const void* memory, size_t bytes);
/// The calling thread's.
int currentDevice();

}  // namespace anneal::emulate
