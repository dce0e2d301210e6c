// Convolutions and their gradients.
#include "conv.h"
#include "ops/conv_inference.h"
#include "ops/spatial.h"

namespace anneal::cuda {
namespace {

const View kNone{.defined = false};

/// The convolution whose gradient this is, for data of the shape `x` and a weight of the shape `weight`.
ConvShape shapeOf(const ops::ConvGradient& a, const Shape& x, const Shape& weight) {
  return ops::convShape(
      "convolution", {.stride = a.stride, .padding = a.padding, .dilation = a.dilation, .groups = a.groups}, x, weight);
}

void convCuda(const Call<ops::Conv>& call) {
  const ConvShape s = ops::convShape("convolution", call.attrs, call.in[0].shape, call.in[1].shape);
  convolve(s, call.in[0], call.in[1], call.in[2], {.residual = kNone}, call.out[0]);
}
const Implement<ops::Conv> conv1dOnCuda("conv1d", DeviceType::Cuda, convCuda),
    conv2dOnCuda("conv2d", DeviceType::Cuda, convCuda), conv3dOnCuda("conv3d", DeviceType::Cuda, convCuda);

void dataCuda(const Call<ops::ConvGradient>& call) {
  const View &grad = call.in[0], &weight = call.in[1];
  const Shape x = ops::join(grad.shape[0], Dims(call.attrs.size), weight.shape.back() * call.attrs.groups);
  convolveData(shapeOf(call.attrs, x, weight.shape), grad, weight, call.in[2], call.out[0]);
}
const Implement<ops::ConvGradient> dataOnCuda("convData", DeviceType::Cuda, dataCuda);

void weightsCuda(const Call<ops::ConvGradient>& call) {
  const View &x = call.in[0], &grad = call.in[1];
  convolveWeights(shapeOf(call.attrs, x.shape, call.out[0].shape), x, grad, call.out[0]);
}
const Implement<ops::ConvGradient> weightsOnCuda("convWeights", DeviceType::Cuda, weightsCuda);

void inferenceCuda(const Call<ops::ConvInference>& call) {
  require(!call.attrs.packed, Code::Internal, "convInference: weights are packed for the CPU only");
  const ConvShape s = ops::convShape("convolution", call.attrs, call.in[0].shape, call.in[1].shape);
  convolve(s, call.in[0], call.in[1], call.in[3], {.residual = call.in[4], .relu = call.attrs.relu}, call.out[0]);
}
const Implement<ops::ConvInference> inferenceOnCuda("convInference", DeviceType::Cuda, inferenceCuda);

}  // namespace
}  // namespace anneal::cuda
