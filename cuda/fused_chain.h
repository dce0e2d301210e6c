#pragma once
#include <memory>

#include "generate.h"
#include "kernels.h"

namespace anneal::cuda {

/// What kernels are to know of a chain's operands.
struct ChainOperands {
  Arrangement arrangement;
  std::vector<double> numbers;

  ChainOperands(const cpu::Chain& chain, Arrangement a);
  /// Adds Sources<N>, Targets<N>, Numbers<N>, Axes<R, N> as they lie in memory, and whether that is aligned: see
  /// fused.cuh.
  void addTo(KernelArguments& arguments, std::span<const View> in, std::span<const View> out) const;

 private:
  /// Whether the memory of all that may be moved in packs is at multiples of their size.
  bool isAligned(std::span<const View> in, std::span<const View> out) const;
};

/// What is known of an operation with a chain before its memory is.
struct PreparedChain : ChainOperands {
  std::shared_ptr<const RuntimeKernel> kernel;
};

}  // namespace anneal::cuda
