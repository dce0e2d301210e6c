#pragma once
#include <cuda_runtime.h>

#include <type_traits>

#include "core/error.h"

#if defined(ANNEAL_CUDA_EMULATE)
#include "emulate/launch.h"
#endif

namespace anneal::cuda {

/// Throws an Error (Device) that names `what` unless `error` is cudaSuccess; running out of memory is an Error
/// (Memory).
void check(cudaError_t error, const char* what);

/// Blocks of `threads` that cover `n`.
inline unsigned blocksFor(int64_t n, int64_t threads) { return unsigned((n + threads - 1) / threads); }

/// Memory shared by the threads of a block, of the size given to launch(); in kernels.
template <class T>
__device__ __forceinline__ T* dynamicShared() {
#if defined(ANNEAL_CUDA_EMULATE)
  return static_cast<T*>(anneal::emulate::dynamicShared());
#else
  extern __shared__ __align__(16) unsigned char anneal_shared[];
  return reinterpret_cast<T*>(anneal_shared);
#endif
}

/// Starts a kernel: the only way to do so. Arguments are converted to the kernel's parameters. Throws where the launch
/// itself fails; what fails while it runs is found by whoever waits for it.
template <class... P>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
            const std::type_identity_t<P>&... arguments) {
#if defined(ANNEAL_CUDA_EMULATE)
  anneal::emulate::checkLaunch(grid, block, shared, stream);
  const auto* translated =
      anneal::emulate::translationOf(reinterpret_cast<const void*>(kernel), {sizeof(P)...}, block, shared);
  const auto run = [=] {
    if (!translated) return anneal::emulate::runGrid(grid, block, shared, [&] { kernel(arguments...); });
    void* all[] = {const_cast<void*>(static_cast<const void*>(&arguments))..., nullptr};
    anneal::emulate::runTranslated(*translated, grid, block, shared, all);
  };
  if (anneal::emulate::defers(stream)) anneal::emulate::defer(stream, run);
  else run();
#else
  constexpr size_t kAlways = size_t(48) << 10;  // shared memory that needs no permission
  if (shared >= kAlways)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared)), "shared memory");
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, P(arguments)...), "launch");
#endif
}

}  // namespace anneal::cuda
