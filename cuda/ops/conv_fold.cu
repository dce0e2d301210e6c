// A batch norm with given statistics as part of the convolution before it.
#include "device.h"
#include "op/define.h"
#include "ops/conv_inference.h"
#include "rows.cuh"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;

/// An optional list of a number for each channel.
template <class T>
struct Channels {
  const T* at;
  explicit Channels(const View& v) : at(v.defined ? v.as<T>() : nullptr) {}
  __device__ double get(int64_t channel, double otherwise) const {
    return at ? cpu::convertTo<double>(at[channel]) : otherwise;
  }
};

/// What the norm multiplies a channel by.
template <class T>
__device__ double scaleOf(const T* variance, Channels<T> weight, double eps, int64_t channel) {
  return weight.get(channel, 1) / sqrt(cpu::convertTo<double>(variance[channel]) + eps);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    foldWeight(const T* from, const T* variance, Channels<T> weight, double eps, T* to, int64_t depth, int64_t n) {
  const int64_t i = threadNumber();
  if (i < n) to[i] = cpu::convertTo<T>(cpu::convertTo<double>(from[i]) * scaleOf(variance, weight, eps, i / depth));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    foldBias(Channels<T> bias, Channels<T> mean, const T* variance, Channels<T> weight, Channels<T> shift, double eps,
             T* to, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  const double scale = scaleOf(variance, weight, eps, i);
  to[i] = cpu::convertTo<T>((bias.get(i, 0) - mean.get(i, 0)) * scale + shift.get(i, 0));
}

/// Inputs: weight [out, ...], variance, the norm's weight or none.
void foldWeightCuda(const Call<ops::FoldNorm>& call) {
  const View& out = call.out[0];
  if (out.size() == 0) return;
  visitFloat(out.dtype, [&]<class T>(TypeTag<T>) {
    launch(foldWeight<T>, blocksFor(out.size(), kThreads), kThreads, 0, stream(), call.in[0].as<T>(),
           call.in[1].as<T>(), Channels<T>(call.in[2]), call.attrs.eps, out.as<T>(), out.size() / out.shape[0],
           out.size());
  });
}

/// Inputs: the convolution's bias or none, mean, variance, the norm's weight or none, its bias or none.
void foldBiasCuda(const Call<ops::FoldNorm>& call) {
  const View& out = call.out[0];
  if (out.size() == 0) return;
  visitFloat(out.dtype, [&]<class T>(TypeTag<T>) {
    launch(foldBias<T>, blocksFor(out.size(), kThreads), kThreads, 0, stream(), Channels<T>(call.in[0]),
           Channels<T>(call.in[1]), call.in[2].as<T>(), Channels<T>(call.in[3]), Channels<T>(call.in[4]),
           call.attrs.eps, out.as<T>(), out.size());
  });
}

const Implement<ops::FoldNorm> foldWeightOnCuda("foldNormWeight", DeviceType::Cuda, foldWeightCuda);
const Implement<ops::FoldNorm> foldBiasOnCuda("foldNormBias", DeviceType::Cuda, foldBiasCuda);

}  // namespace
}  // namespace anneal::cuda
