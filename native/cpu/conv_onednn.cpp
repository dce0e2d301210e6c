#include <optional>

#include "cpu/conv.h"
#include "cpu/onednn.h"
#include "cpu/workspace.h"

namespace anneal::cpu {
#ifdef ANNEAL_ONEDNN
namespace {

using namespace onednn;
using dnnl::algorithm;
using dnnl::memory;
using Type = memory::data_type;
using Tag = memory::format_tag;

memory::dims join(std::initializer_list<int64_t> first, const Dims& rest) {
  memory::dims d(first);
  d.insert(d.end(), rest.begin(), rest.end());
  return d;
}

/// Descriptors of a convolution: oneDNN names axes [N, C, spatial], whatever their order in memory.
struct Descriptors {
  memory::desc x, y, bias, weight, weightAny;
  memory::dims stride, dilation, before, after;

  Descriptors(const ConvShape& s, Type type, bool withBias, int64_t biasSize) {
    Tag tag = s.rank() == 1 ? Tag::nwc : (s.rank() == 2 ? Tag::nhwc : Tag::ndhwc);
    x = {join({s.batch, s.inChannels}, s.in), type, tag};
    y = {join({s.batch, s.outChannels}, s.out), type, tag};
    if (withBias) bias = {{biasSize}, type, Tag::a};
    memory::dims shape = join({s.groupOut(), s.groupIn()}, s.kernel);
    memory::dims strides = join({s.depth(), 1}, scaled(contiguousStrides(s.kernel), s.groupIn()));
    if (s.groups > 1) {
      shape.insert(shape.begin(), s.groups);
      strides.insert(strides.begin(), s.groupOut() * s.depth());
    }
    weight = {shape, type, strides};
    weightAny = {shape, type, Tag::any};
    stride = dims(s.stride);
    before = dims(s.before);
    after = dims(s.after);
    dilation = dims(s.dilation);
    for (auto& d : dilation) --d;  // oneDNN counts the gaps
  }

 private:
  static Dims scaled(Dims d, int64_t factor) {
    for (int i = 0; i < d.rank(); ++i) d[i] *= factor;
    return d;
  }
};

/// A primitive, and the reordering between our layout of the weight and the one it wants.
struct Conv {
  Prepared primitive;
  std::optional<Prepared> reorder;
  size_t packed = 0;  // bytes of the weight in the layout the primitive wants
};

std::optional<Prepared> reorderOf(const memory::desc& from, const memory::desc& to) {
  if (from == to) return {};
  dnnl::reorder::primitive_desc desc(engine(), from, engine(), to, userScratchpad());
  return Prepared(dnnl::reorder(desc), desc.scratchpad_desc(), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

Key keyOf(Kind kind, const ConvShape& s, DType dtype, bool bias) {
  return Key(kind, dtype, bias, s.batch, s.inChannels, s.outChannels, s.groups, s.in, s.kernel, s.stride, s.dilation,
             s.before, s.after);
}

dnnl::convolution_forward::primitive_desc forwardDesc(const Descriptors& d,
                                                      const dnnl::primitive_attr& attributes = userScratchpad(),
                                                      dnnl::prop_kind kind = dnnl::prop_kind::forward_training) {
  const auto direct = algorithm::convolution_direct;
  using Desc = dnnl::convolution_forward::desc;
  Desc desc = d.bias.data.ndims
                  ? Desc(kind, direct, d.x, d.weightAny, d.bias, d.y, d.stride, d.dilation, d.before, d.after)
                  : Desc(kind, direct, d.x, d.weightAny, d.y, d.stride, d.dilation, d.before, d.after);
  return {desc, attributes, engine()};
}

Conv makeForward(const Descriptors& d, const dnnl::convolution_forward::primitive_desc& desc, bool bias) {
  std::vector<Prepared::Argument> arguments{
      {DNNL_ARG_SRC, d.x}, {DNNL_ARG_WEIGHTS, desc.weights_desc()}, {DNNL_ARG_DST, d.y}};
  if (bias) arguments.push_back({DNNL_ARG_BIAS, d.bias});
  return {Prepared(dnnl::convolution_forward(desc), desc.scratchpad_desc(), arguments),
          reorderOf(d.weight, desc.weights_desc()), desc.weights_desc().get_size()};
}

Conv makeForward(const ConvShape& s, Type type, bool bias) {
  Descriptors d(s, type, bias, s.outChannels);
  return makeForward(d, forwardDesc(d), bias);
}

Conv makeInference(const ConvShape& s, Type type, bool bias, bool residual, bool relu) {
  dnnl::primitive_attr attributes = userScratchpad();
  dnnl::post_ops post;
  if (residual) post.append_sum(1);
  if (relu) post.append_eltwise(1, algorithm::eltwise_relu, 0, 0);
  attributes.set_post_ops(post);
  Descriptors d(s, type, bias, s.outChannels);
  return makeForward(d, forwardDesc(d, attributes, dnnl::prop_kind::forward_inference), bias);
}

Conv makeData(const ConvShape& s, Type type) {
  Descriptors d(s, type, false, 0);
  dnnl::convolution_backward_data::desc backward(algorithm::convolution_direct, d.x, d.weightAny, d.y, d.stride,
                                                 d.dilation, d.before, d.after);
  dnnl::convolution_backward_data::primitive_desc desc(backward, userScratchpad(), engine(), forwardDesc(d));
  return {Prepared(dnnl::convolution_backward_data(desc), desc.scratchpad_desc(),
                   {{DNNL_ARG_DIFF_DST, d.y}, {DNNL_ARG_WEIGHTS, desc.weights_desc()}, {DNNL_ARG_DIFF_SRC, d.x}}),
          reorderOf(d.weight, desc.weights_desc()), desc.weights_desc().get_size()};
}

Conv makeWeights(const ConvShape& s, Type type) {
  Descriptors d(s, type, false, 0);
  dnnl::convolution_backward_weights::desc backward(algorithm::convolution_direct, d.x, d.weightAny, d.y, d.stride,
                                                    d.dilation, d.before, d.after);
  dnnl::convolution_backward_weights::primitive_desc desc(backward, userScratchpad(), engine(), forwardDesc(d));
  return {Prepared(dnnl::convolution_backward_weights(desc), desc.scratchpad_desc(),
                   {{DNNL_ARG_SRC, d.x}, {DNNL_ARG_DIFF_DST, d.y}, {DNNL_ARG_DIFF_WEIGHTS, desc.diff_weights_desc()}}),
          reorderOf(desc.diff_weights_desc(), d.weight), desc.diff_weights_desc().get_size()};
}

/// The weight as the primitive wants it.
const void* packed(Conv& conv, const void* weight) {
  if (!conv.reorder) return weight;
  void* to = workspace(Purpose::Patches, conv.packed);
  conv.reorder->run({weight, to});
  return to;
}

}  // namespace

bool ConvOneDnn::takes(DType dtype) { return dtype == DType::Float32 || (dtype == DType::BFloat16 && fastBFloat16()); }

void ConvOneDnn::forward(const ConvShape& s, const void* x, const void* weight, const void* bias, void* y) const {
  Conv& conv = cached(keyOf(Kind::Convolution, s, dtype, bias), [&] { return makeForward(s, dataType(dtype), bias); });
  weight = packed(conv, weight);
  if (bias) conv.primitive.run({x, weight, y, bias});
  else conv.primitive.run({x, weight, y});
}

namespace {

Conv& inferenceConv(const ConvShape& s, DType dtype, bool bias, bool residual, bool relu) {
  Key key = keyOf(Kind::ConvolutionInference, s, dtype, bias);
  key.add(residual);
  key.add(relu);
  return cached(key, [&] { return makeInference(s, dataType(dtype), bias, residual, relu); });
}

}  // namespace

void ConvOneDnn::inference(const ConvShape& s, const void* x, const void* weight, const void* bias, bool residual,
                           bool relu, void* y) const {
  Conv& conv = inferenceConv(s, dtype, bias, residual, relu);
  weight = packed(conv, weight);
  if (bias) conv.primitive.run({x, weight, y, bias});
  else conv.primitive.run({x, weight, y});
}

void ConvOneDnn::data(const ConvShape& s, const void* grad, const void* weight, void* dx) const {
  Conv& conv = cached(keyOf(Kind::ConvolutionData, s, dtype, false), [&] { return makeData(s, dataType(dtype)); });
  conv.primitive.run({grad, packed(conv, weight), dx});
}

void ConvOneDnn::weights(const ConvShape& s, const void* x, const void* grad, void* dw) const {
  Conv& conv =
      cached(keyOf(Kind::ConvolutionWeights, s, dtype, false), [&] { return makeWeights(s, dataType(dtype)); });
  if (!conv.reorder) return conv.primitive.run({x, grad, dw});
  void* packed = workspace(Purpose::Patches, conv.packed);
  conv.primitive.run({x, grad, packed});
  conv.reorder->run({packed, dw});
}
#else
bool ConvOneDnn::takes(DType) { return false; }
void ConvOneDnn::forward(const ConvShape&, const void*, const void*, const void*, void*) const {}
void ConvOneDnn::data(const ConvShape&, const void*, const void*, void*) const {}
void ConvOneDnn::weights(const ConvShape&, const void*, const void*, void*) const {}
void ConvOneDnn::inference(const ConvShape&, const void*, const void*, const void*, bool, bool, void*) const {}
#endif

}  // namespace anneal::cpu
