#pragma once
#include "device.h"
#include "graph/passes/epilogues.h"
#include "op/row.h"

namespace anneal::cuda {

/// Begins to compile what an operation of a program needs: see Backend::prepare.
void prepareFused(CudaDevice& device, const Row& row, const void* attrs, std::span<const View> in,
                  std::span<const View> out);

/// A norm, or the gradient of one, with a chain of elementwise operations after it.
void normEpilogueCuda(const Call<passes::WithEpilogue>& call);
/// The part of prepareFused() for norms.
void prepareNorms(CudaDevice& device, const Row& row, const void* attrs, std::span<const View> in,
                  std::span<const View> out);

}  // namespace anneal::cuda
