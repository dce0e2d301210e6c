// Interpolation at other spatial sizes, and its gradient.
#include "spatial.cuh"

namespace anneal::cuda {
namespace {

const Implement<ops::Resample> resampleOnCuda("resample", DeviceType::Cuda, [](const Call<ops::Resample>& call) {
  sumInto<ResampleAxis>("resample", call, false);
});
const Implement<ops::Resample> gradientOnCuda("resampleGradient", DeviceType::Cuda,
                                              [](const Call<ops::Resample>& call) {
                                                sumInto<ResampleAxisBack>("resampleGradient", call, true);
                                              });

}  // namespace
}  // namespace anneal::cuda
