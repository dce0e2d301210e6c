#include "dnn.h"

#if defined(ANNEAL_CUDA_DNN)
#include <utility>

#include "dnn_problem.h"
#include "runtime/float32.h"

namespace anneal::cuda {

using cpu::ConvShape;

namespace {

cudnnDataType_t typeOf(DType dtype) {
  switch (dtype) {
    case DType::Float64: return CUDNN_DATA_DOUBLE;
    case DType::Float16: return CUDNN_DATA_HALF;
    case DType::BFloat16: return CUDNN_DATA_BFLOAT16;
    default: return CUDNN_DATA_FLOAT;
  }
}

std::vector<int64_t> listOf(const Dims& d) { return {d.begin(), d.end()}; }

/// [count, spatial, channels] in memory, as the axes [count, channels, spatial] that cuDNN counts.
Descriptor tensorOf(int64_t name, const ConvProblem& p, const void* memory, int64_t count, int64_t channels,
                    const Dims& spatial) {
  std::vector<int64_t> sizes{count, channels}, strides{spatial.product() * channels, 1};
  for (int i = 0; i < spatial.rank(); ++i) {
    sizes.push_back(spatial[i]);
    int64_t stride = channels;
    for (int j = i + 1; j < spatial.rank(); ++j) stride *= spatial[j];
    strides.push_back(stride);
  }
  Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, name)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, typeOf(p.dtype))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, p.alignment(memory))
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, sizes)
      .set(CUDNN_ATTR_TENSOR_STRIDES, strides);
  return std::move(d.finish());
}

/// How the three ways call their operands.
struct Names {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t convolution, x, weight, y, alpha, beta;
};

Names namesOf(ConvWay way) {
  switch (way) {
    case ConvWay::Forward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case ConvWay::Data:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    default:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
  }
}

Descriptor convolutionOf(const ConvProblem& p) {
  const ConvShape& s = p.shape;
  Descriptor d(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  d.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE,
        p.dtype == DType::Float64 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, int64_t(s.rank()))
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, listOf(s.dilation))
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, listOf(s.stride))
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, listOf(s.before))
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, listOf(s.after));
  return std::move(d.finish());
}

}  // namespace

ConvShape widened(ConvShape s) {
  if (s.rank() > 1) return s;
  for (Dims* d : {&s.in, &s.out, &s.kernel, &s.stride, &s.dilation}) d->insert(0, 1);
  s.before.insert(0, 0);
  s.after.insert(0, 0);
  return s;
}

double ConvProblem::work() const {
  const ConvShape& s = shape;
  return 2.0 * double(s.batch) * double(s.out.product()) * double(s.outChannels) * double(s.kernel.product()) *
         double(s.groupIn());
}

std::vector<int64_t> ConvProblem::key() const {
  const ConvShape& s = shape;
  std::vector<int64_t> k{
      int64_t(way), int64_t(dtype), int64_t(fastFloat32Here()), s.batch,     s.inChannels, s.outChannels,
      s.groups,     alignment(x),   alignment(weight),          alignment(y)};
  for (const Dims* d : {&s.in, &s.out, &s.kernel, &s.stride, &s.dilation, &s.before, &s.after})
    k.insert(k.end(), d->begin(), d->end());
  return k;
}

Descriptor operationOf(const ConvProblem& p) {
  const ConvShape& s = p.shape;
  const Names names = namesOf(p.way);
  const Descriptor convolution = convolutionOf(p), x = tensorOf(kImage, p, p.x, s.batch, s.inChannels, s.in),
                   weight = tensorOf(kWeight, p, p.weight, s.outChannels, s.groupIn(), s.kernel),
                   y = tensorOf(kResult, p, p.y, s.batch, s.outChannels, s.out);
  Descriptor d(names.operation);
  d.set(names.convolution, convolution).set(names.x, x).set(names.weight, weight).set(names.y, y);
  if (p.dtype == DType::Float64) d.set(names.alpha, CUDNN_TYPE_DOUBLE, 1.0).set(names.beta, CUDNN_TYPE_DOUBLE, 0.0);
  else d.set(names.alpha, CUDNN_TYPE_FLOAT, 1.0f).set(names.beta, CUDNN_TYPE_FLOAT, 0.0f);
  return std::move(d.finish());
}

}  // namespace anneal::cuda

#endif
