#pragma once

namespace anneal::cuda {

class CudaDevice;

/// Offers the core sums over several GPUs: see runtime/collectives.h.
void implementCollectives();

/// The number by which CUDA knows the device.
int ordinalOf(const CudaDevice& device);

}  // namespace anneal::cuda
