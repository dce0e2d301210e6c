#pragma once

namespace anneal {

/// Whether GPUs' libraries may round the factors of float32 products to TF32, of 10 bits, for several times the speed:
/// for what is queued from here on, on all devices. At first what ANNEAL_CUDA_TF32 says: 1 for yes.
void setFastFloat32(bool fast);
bool fastFloat32();

/// The same for the job that the calling thread, which is a device's, is at: what held when it was queued.
bool fastFloat32Here();
/// Makes it that from the next job on; a device's first job.
void adoptFastFloat32(bool fast);

}  // namespace anneal
