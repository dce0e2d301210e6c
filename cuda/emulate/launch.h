#pragma once
#include <functional>

#include "cuda_runtime.h"

namespace anneal::emulate {

/// Runs `thread` once for every thread of the grid. The threads of a block take turns on one thread of the host: each
/// runs until it ends or waits for others.
void runGrid(dim3 grid, dim3 block, size_t shared, const std::function<void()>& thread);

}  // namespace anneal::emulate
