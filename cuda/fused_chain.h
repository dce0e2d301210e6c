#pragma once
#include <memory>

#include "generate.h"
#include "kernels.h"

namespace anneal::cuda {

/// What is known of an operation with a chain before its memory is.
struct PreparedChain {
  Arrangement arrangement;
  std::vector<double> numbers;
  std::shared_ptr<const RuntimeKernel> kernel;

  PreparedChain(const CudaDevice& device, const cpu::Chain& chain, Arrangement a, const std::string& source);
  /// Sources<N>, Targets<N>, Numbers<N>, Axes<R, N> as they lie in memory, and what is aligned: see fused.cuh.
  KernelArguments argumentsFor(std::span<const View> in, std::span<const View> out) const;

 private:
  uint32_t alignedOf(std::span<const View> in, std::span<const View> out) const;
};

}  // namespace anneal::cuda
