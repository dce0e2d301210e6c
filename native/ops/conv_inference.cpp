#include "ops/conv_inference.h"

#include <cmath>

#include "cpu/convert.h"
#include "cpu/parallel.h"
#include "ops/spatial.h"

namespace anneal::ops {
namespace {

using cpu::ConvShape;

/// The weight's own shape stands in the attributes where it is packed.
void inferenceCpu(const Call<ConvInference>& call) {
  const ConvShape s = convShape("convInference", call.attrs, call.in[0].shape, call.in[1].shape);
  cpu::ConvAfter after{.relu = call.attrs.relu};
  after.residual = call.in[4];
  const View& weight = call.attrs.packed ? call.in[2] : call.in[1];
  cpu::convInference(s, call.in[0], weight, call.attrs.packed, call.in[3], after, call.out[0]);
}
const Implement<ConvInference> inferenceOnCpu("convInference", DeviceType::Cpu, inferenceCpu);

/// What a batch norm multiplies channel `i` by: weight / sqrt(variance + eps).
template <class T>
double scaleOf(const View& weight, const View& variance, double eps, int64_t i) {
  const double inverse = 1 / std::sqrt(cpu::convertTo<double>(variance.as<T>()[i]) + eps);
  return weight.defined ? inverse * cpu::convertTo<double>(weight.as<T>()[i]) : inverse;
}

/// Inputs: weight [out, ...], variance, the norm's weight or none.
void foldWeightCpu(const Call<FoldNorm>& call) {
  const View &weight = call.in[0], &out = call.out[0];
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    const int64_t channels = weight.shape[0], depth = weight.size() / std::max<int64_t>(channels, 1);
    cpu::parallelFor(channels, 1 + 32768 / std::max<int64_t>(depth, 1), [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const double scale = scaleOf<T>(call.in[2], call.in[1], call.attrs.eps, c);
        for (int64_t i = c * depth; i < (c + 1) * depth; ++i)
          out.as<T>()[i] = cpu::convertTo<T>(cpu::convertTo<double>(weight.as<T>()[i]) * scale);
      }
    });
  });
}

/// Inputs: the convolution's bias or none, mean, variance, the norm's weight or none, its bias or none.
void foldBiasCpu(const Call<FoldNorm>& call) {
  const View& out = call.out[0];
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    auto value = [&](size_t input, int64_t c) {
      return call.in[input].defined ? cpu::convertTo<double>(call.in[input].as<T>()[c]) : 0.0;
    };
    for (int64_t c = 0; c < out.size(); ++c) {
      const double scale = scaleOf<T>(call.in[3], call.in[2], call.attrs.eps, c);
      out.as<T>()[c] = cpu::convertTo<T>((value(0, c) - value(1, c)) * scale + value(4, c));
    }
  });
}

const Implement<FoldNorm> foldWeightOnCpu("foldNormWeight", DeviceType::Cpu, foldWeightCpu);
const Implement<FoldNorm> foldBiasOnCpu("foldNormBias", DeviceType::Cpu, foldBiasCpu);

void packCpu(const Call<PackConv>& call) {
  const ConvShape s = convShape("packConv", call.attrs, Shape(call.attrs.size), call.in[0].shape);
  cpu::packConvWeights(s, call.in[0], call.out[0]);
}
const Implement<PackConv> packOnCpu("packConv", DeviceType::Cpu, packCpu);

}  // namespace

const Op<ConvInference> convInference(
    {.name = "convInference",
     .doc = "A convolution with an addition and a ReLU in one pass; made when a graph is planned.",
     .inputs = {"x", "weight", "packed?", "bias?", "residual?"},
     .infer =
         [](const Args<ConvInference>& c) {
           const ConvShape s = convShape(c.op, c.attrs, c.in[0].shape(), c.in[1].shape());
           return Specs{{join(s.batch, s.out, s.outChannels), c.in[0].dtype()}};
         },
     .nonDifferentiable = true,
     .method = false,
     .internal = true,
     .donor = [](size_t, size_t) { return 4; }});

const Op<FoldNorm> foldNormWeight({.name = "foldNormWeight",
                                   .doc = "A convolution's weight times what a batch norm multiplies by.",
                                   .inputs = {"weight", "variance", "normWeight?"},
                                   .infer = [](const Args<FoldNorm>& c) { return Specs{c.in[0].spec()}; },
                                   .nonDifferentiable = true,
                                   .method = false,
                                   .internal = true});

const Op<FoldNorm> foldNormBias({.name = "foldNormBias",
                                 .doc = "The bias of a convolution that does a batch norm's work too.",
                                 .inputs = {"bias?", "mean", "variance", "normWeight?", "normBias?"},
                                 .infer = [](const Args<FoldNorm>& c) { return Specs{c.in[1].spec()}; },
                                 .nonDifferentiable = true,
                                 .method = false,
                                 .internal = true});

const Op<PackConv> packConv({.name = "packConv",
                             .doc = "A convolution's weight as its kernel wants it.",
                             .inputs = {"weight"},
                             .infer =
                                 [](const Args<PackConv>& c) {
                                   const Spec& w = c.in[0].spec();
                                   const ConvShape s = convShape(c.op, c.attrs, Shape(c.attrs.size), w.shape);
                                   return Specs{{{cpu::packedConvSize(s, w.dtype)}, w.dtype}};
                                 },
                             .nonDifferentiable = true,
                             .method = false,
                             .internal = true});

}  // namespace anneal::ops
