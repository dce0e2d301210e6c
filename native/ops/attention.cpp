#include "ops/attention.h"

#include <cmath>
#include <limits>

#include "cpu/attention.h"
#include "op/key.h"
#include "op/precision.h"
#include "ops/arithmetic.h"
#include "ops/comparison.h"
#include "ops/creation.h"
#include "ops/indexing.h"
#include "ops/join.h"
#include "ops/matmul.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/slices.h"
#include "ops/softmax.h"
#include "ops/triangular.h"
#include "ops/views.h"
#include "runtime/context.h"
#include "runtime/philox.h"

namespace anneal::ops {
namespace {

constexpr double kExcluded = -1e30;  // finite, so that rows without any key have no NaN on the way to their zeros

void checkHeads(const std::string& op, const Tensor& q, const Tensor& k, const Tensor& v) {
  auto shapes = [&] { return text("q ", q.shape(), ", k ", k.shape(), ", v ", v.shape()); };
  for (const Tensor* t : {&q, &k, &v})
    require(t->rank() == 4, Code::Shape, op, ": takes [batch, heads, time, depth]; got ", shapes());
  require(isFloat(q.dtype()) && q.dtype() == k.dtype() && q.dtype() == v.dtype(), Code::DType, op,
          ": q, k and v are floats of one dtype; got ", q.dtype(), ", ", k.dtype(), ", ", v.dtype());
  const Shape &qs = q.shape(), &ks = k.shape(), &vs = v.shape();
  require(qs[0] == ks[0] && ks[0] == vs[0], Code::Shape, op, ": batch sizes differ: ", shapes());
  require(ks[1] == vs[1] && ks[1] > 0 && qs[1] % ks[1] == 0, Code::Shape, op,
          ": k and v have the same number of heads, which divides that of q; got ", shapes());
  require(qs[3] == ks[3], Code::Shape, op, ": depths of q and k differ: ", shapes());
  require(ks[2] == vs[2], Code::Shape, op, ": k and v have different lengths: ", shapes());
}

void checkMask(const std::string& op, const Tensor& mask, const Tensor& q, const Tensor& k) {
  if (!mask) return;
  require(mask.dtype() == DType::Bool || mask.dtype() == q.dtype(), Code::DType, op,
          ": the mask is bool or of q's dtype, ", q.dtype(), "; got ", mask.dtype());
  Shape scores{q.shape()[0], q.shape()[1], q.shape()[2], k.shape()[2]};
  require(mask.rank() <= 4 && broadcast(op, mask.shape(), scores) == scores, Code::Shape, op, ": the mask ",
          mask.shape(), " does not broadcast to [batch, heads, queries, keys], ", scores);
}

Tensor at(Inputs in, size_t i) { return i < in.size() ? in[i] : Tensor(); }

/// k or v with every head repeated for the heads of q that share it.
Tensor repeatHeads(const Tensor& x, int64_t heads) {
  Shape s = x.shape();
  if (s[1] == heads) return x;
  int64_t group = heads / s[1];
  Tensor grouped =
      broadcastTo(reshape(x, {.shape = {s[0], s[1], 1, s[2], s[3]}}), {.shape = {s[0], s[1], group, s[2], s[3]}});
  return reshape(grouped, {.shape = {s[0], heads, s[2], s[3]}});
}

/// The gradient of repeatHeads.
Tensor sumHeads(const Tensor& grad, int64_t heads) {
  Shape s = grad.shape();
  if (s[1] == heads) return grad;
  return sum(reshape(grad, {.shape = {s[0], heads, s[1] / heads, s[2], s[3]}}), {.axis = Ints{2}});
}

/// Where keys take no part: bool masks that broadcast to the scores.
Tensors excluded(const Tensor& mask, bool causal, const Shape& scores) {
  Tensors out;
  if (causal) out.push_back(triu(full({scores[2], scores[3]}, 1, DType::Bool), {.diagonal = 1}));
  if (!mask) return out;
  double lowest =
      mask.dtype() == DType::Float64 ? -std::numeric_limits<double>::max() : -double(std::numeric_limits<float>::max());
  out.push_back(greater(number(mask.dtype() == DType::Bool ? 1 : lowest), mask));
  return out;
}

struct Composition {
  Tensor scores, weights, values;  // `values` with repeated heads
};

Composition compose(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, bool causal, double scale) {
  int64_t heads = q.shape()[1];
  Composition c;
  c.scores = mul(matmul(q, transposeLast(repeatHeads(k, heads))), number(scale));
  Tensors without = excluded(mask, causal, c.scores.shape());
  if (mask && mask.dtype() != DType::Bool) c.scores = add(c.scores, mask);
  for (const Tensor& m : without) c.scores = maskedFill(c.scores, m, number(kExcluded));
  c.weights = softmax(c.scores, {.axis = -1});
  for (const Tensor& m : without) c.weights = maskedFill(c.weights, m, number(0));
  c.values = repeatHeads(v, heads);
  return c;
}

/// Whether attention over `t` is computed in its 16-bit dtype, with sums in float32.
bool takes16Bits(const Tensor& t) {
  return isFloat(t.dtype()) && itemSize(t.dtype()) == 2 && t.device().type() == DeviceType::Cuda;
}

Tensor wide(const Tensor& t) {
  return !t || t.dtype() == DType::Bool || t.dtype() == DType::Float32 ? t : cast(t, {.dtype = DType::Float32});
}

Tensor as(const Tensor& t, DType dtype) { return t.dtype() == dtype ? t : cast(t, {.dtype = dtype}); }

/// Weights, or what comes back to them, under dropout.
Tensor dropped(const Tensor& weights, const Tensor& key, double p) {
  return p > 0 ? dropoutMask(weights, key, {.p = p}) : weights;
}

/// Whether that leaves nothing.
bool dropsAll(double p) { return philox::fraction(p) >> 32; }

Tensors lowerAttention(const Args<AttentionOptions>& c) {
  const Tensor &q = c.in[0], &k = c.in[1], &v = c.in[2];
  Tensor mask = at(c.in, 3);
  checkHeads(c.op, q, k, v);
  checkMask(c.op, mask, q, k);
  double scale = c.attrs.scale.value_or(1 / std::sqrt(double(std::max<int64_t>(q.shape()[3], 1))));
  bool maskGradient = mask && mask.requiresGrad() && Context::current().gradEnabled;
  const double p = c.attrs.dropoutP;
  require(p >= 0 && p <= 1, Code::Value, c.op, ": dropoutP is a probability; got ", p);
  const Tensor key = p > 0 ? nextKey(q.shape().slice(0, 3).product() * k.size(2)) : Tensor();
  if (q.dtype() == DType::Float64 || maskGradient || dropsAll(p)) {
    Composition made = compose(q, k, v, mask, c.attrs.causal, scale);
    return {matmul(dropped(made.weights, key, p), made.values)};
  }
  const bool narrow = takes16Bits(q);
  auto taken = [&](const Tensor& t) { return narrow ? t : wide(t); };
  Tensor out = flashAttention(Tensors{taken(q), taken(k), taken(v), taken(mask), key},
                              {.causal = c.attrs.causal, .scale = scale, .dropoutP = p});
  return {as(transpose(out, {1, 2}), q.dtype())};
}

Specs inferFlash(const Args<Flash>& c) {
  checkHeads(c.op, c.in[0], c.in[1], c.in[2]);
  checkMask(c.op, at(c.in, 3), c.in[0], c.in[1]);
  const DType dtype = c.in[0].dtype();
  require(dtype == DType::Float32 || takes16Bits(c.in[0]), Code::DType, c.op,
          ": takes float32, or 16-bit floats on a GPU; got ", dtype);
  const Shape& q = c.in[0].shape();
  return {{{q[0], q[2], q[1], c.in[2].shape()[3]}, dtype}, {{q[0], q[1], q[2]}, DType::Float32}};
}

Tensors lowerFlash(const Args<Flash>& c) {
  inferFlash(c);
  Composition made =
      compose(wide(c.in[0]), wide(c.in[1]), wide(c.in[2]), wide(at(c.in, 3)), c.attrs.causal, c.attrs.scale);
  Tensor all = logSumExp(made.scores, {.axis = Ints{-1}});
  all = maskedFill(all, greater(number(kExcluded / 10), all), number(std::numeric_limits<double>::infinity()));
  const Tensor weights = dropped(made.weights, at(c.in, 4), c.attrs.dropoutP);
  return {as(transpose(matmul(weights, made.values), {1, 2}), c.in[0].dtype()), all};
}

Tensors flashVjp(const Vjp<Flash>& v) {
  require(!v.grad(1), Code::Gradient, "flashAttention: the log-sum-exp has no gradient");
  if (!v.grad(0)) return {};
  // On the CPU kernels read whole rows again and again.
  auto laid = [](const Tensor& t) {
    return t && t.device().type() == DeviceType::Cpu && !t.contiguous() ? contiguous(t) : t;
  };
  const Tensor &q = v.in(0), &k = v.in(1);
  FlashGrad attrs{v.attrs};
  attrs.joined = q.size(2) == k.size(2) && q.size(3) == v.in(2).size(3);
  Tensors grads = flashAttentionGrad.all(
      Tensors{laid(q), laid(k), laid(v.in(2)), laid(v.out(0)), laid(v.out(1)), laid(v.grad(0)), laid(v.in(3)), v.in(4)},
      attrs);
  if (attrs.joined) grads = split.all(Tensors{grads[0]}, {.sizes = {q.size(1), k.size(1), k.size(1)}, .axis = 2});
  for (Tensor& t : grads) t = transpose(t, {1, 2});
  return grads;
}

/// The gradient written out. It reads neither the result nor the log-sum-exp, so that its own gradient is complete.
Tensors lowerFlashGrad(const Args<FlashGrad>& c) {
  const Tensor q = wide(c.in[0]), k = wide(c.in[1]), v = wide(c.in[2]), grad = transpose(wide(c.in[5]), {1, 2});
  Composition made = compose(q, k, v, wide(at(c.in, 6)), c.attrs.causal, c.attrs.scale);
  const Tensor key = at(c.in, 7);
  const double p = c.attrs.dropoutP;
  Tensor toWeights = dropped(matmul(grad, transposeLast(made.values)), key, p);
  Tensor mean = sum(mul(toWeights, made.weights), {.axis = Ints{-1}, .keepDims = true});
  Tensor toScores = mul(mul(made.weights, sub(toWeights, mean)), number(c.attrs.scale));
  int64_t heads = k.shape()[1];
  const DType dtype = c.in[0].dtype();
  Tensors grads{matmul(toScores, repeatHeads(k, q.shape()[1])), sumHeads(matmul(transposeLast(toScores), q), heads),
                sumHeads(matmul(transposeLast(dropped(made.weights, key, p)), grad), heads)};
  for (Tensor& t : grads) t = as(transpose(t, {1, 2}), dtype);
  if (!c.attrs.joined) return grads;
  const Tensor none = full({0}, 0, dtype);
  return {concat(grads, {.axis = 2}), none, none};
}

Specs inferFlashGrad(const Args<FlashGrad>& c) {
  const auto turned = [](const Tensor& t) {
    const Shape& s = t.shape();
    return Spec{{s[0], s[2], s[1], s[3]}, t.dtype()};
  };
  if (!c.attrs.joined) return {turned(c.in[0]), turned(c.in[1]), turned(c.in[2])};
  Spec all = turned(c.in[0]);
  all.shape[2] += 2 * c.in[1].shape()[1];
  const Spec none{{0}, all.dtype};
  return {all, none, none};
}

/// `mask` is the place of the mask among the inputs, the key comes after it.
cpu::Attention attentionOf(const Flash& attrs, std::span<const View> in, size_t mask) {
  cpu::Attention a{.q = in[0],
                   .k = in[1],
                   .v = in[2],
                   .mask = in[mask],
                   .causal = attrs.causal,
                   .scale = float(attrs.scale),
                   .dropout = {}};
  if (attrs.dropoutP > 0)
    a.dropout = {cpu::Key(in[mask + 1]), uint32_t(philox::fraction(attrs.dropoutP)), float(1 / (1 - attrs.dropoutP))};
  return a;
}

void flashCpu(const Call<Flash>& call) {
  cpu::attentionForward(attentionOf(call.attrs, call.in, 3), headsOf(call.out[0]), call.out[1].as<float>());
}
void flashGradCpu(const Call<FlashGrad>& call) {
  const HeadGradients to(call.attrs, call.in, call.out);
  cpu::attentionBackward(attentionOf(call.attrs, call.in, 6), headsOf(call.in[3]), call.in[4].as<const float>(),
                         headsOf(call.in[5]), to.q, to.k, to.v);
}
const Implement<Flash> flashOnCpu("flashAttention", DeviceType::Cpu, flashCpu);
const Implement<FlashGrad> flashGradOnCpu("flashAttentionGrad", DeviceType::Cpu, flashGradCpu);

/// The gradient does 5 products where the result takes 2.
template <int Products, class A>
double flashCost(const A&, std::span<const View> in, std::span<const View>) {
  return double(in[0].size()) * double(in[1].shape[2]) * Products;
}

template <class A>
std::vector<Field> flashFields() {
  return {field<&A::causal>("causal", "query i sees keys 0 to i only"),
          field<&A::scale>("scale", "the factor of the scores"),
          field<&A::dropoutP>("dropoutP", "the share of the weights that dropout sets to 0")};
}

std::vector<Field> flashGradFields() {
  std::vector<Field> out = flashFields<FlashGrad>();
  out.push_back(field<&FlashGrad::joined>("joined", "the three side by side in the first output"));
  return out;
}

}  // namespace

const Op<AttentionOptions> scaledDotProductAttention(
    {.name = "scaledDotProductAttention",
     .doc = "Attention, `softmax(q kᵀ scale + mask) v` (Vaswani et al., 2017), over `q` [B, H, Tq, D], `k` [B, Hkv, "
            "Tk, D] and `v` "
            "[B, Hkv, Tk, Dv]: [B, H, Tq, Dv]. H is a multiple of Hkv: neighbouring heads of q share those of k and v. "
            "`mask` "
            "broadcasts to [B, H, Tq, Tk]: bool, true where a key takes part, or floats that are added to the scores. "
            "A query "
            "that sees no key gives zeros.",
     .inputs = {"q", "k", "v", "mask?"},
     .attrs = {field<&AttentionOptions::causal>(
                   "causal",
                   "query i sees keys 0 to i only, also where Tq and Tk differ; together with "
                   "a mask both hold"),
               field<&AttentionOptions::scale>("scale", "the factor of the scores; 1/sqrt(D) when absent"),
               field<&AttentionOptions::dropoutP>("dropoutP", "the share of the weights that dropout sets to 0")},
     .lower = lowerAttention});

const Op<Flash> flashAttention(
    {.name = "flashAttention",
     .doc = "Attention over heads of float32, on a GPU also of 16-bit floats, without keeping the scores (Dao et "
            "al., 2022), as [B, Tq, H, Dv], and the float32 log-sum-exp of each query's scores.",
     .inputs = {"q", "k", "v", "mask?", "key?"},
     .attrs = flashFields<Flash>(),
     .outputs = {"result", "logSumExp"},
     .infer = inferFlash,
     .lower = lowerFlash,
     .vjp = flashVjp,
     .saves = {.inputs = {0, 1, 2, 3, 4}, .outputs = {0, 1}},
     .internal = true,
     .anyStrides = true,
     .cost = flashCost<2, Flash>});

const Op<FlashGrad> flashAttentionGrad({.name = "flashAttentionGrad",
                                        .doc = "The gradients of flashAttention's q, k and v, with heads after time.",
                                        .inputs = {"q", "k", "v", "result", "logSumExp", "grad", "mask?", "key?"},
                                        .attrs = flashGradFields(),
                                        .outputs = {"dq", "dk", "dv"},
                                        .infer = inferFlashGrad,
                                        .lower = lowerFlashGrad,
                                        .internal = true,
                                        .anyStrides = true,
                                        .cost = flashCost<5, FlashGrad>});

View headsOf(const View& v) {
  View out = v;
  std::swap(out.shape[1], out.shape[2]);
  std::swap(out.strides[1], out.strides[2]);
  return out;
}

HeadGradients::HeadGradients(const FlashGrad& attrs, std::span<const View> in, std::span<const View> out)
    : q(headsOf(out[0])), k(headsOf(out[attrs.joined ? 0 : 1])), v(headsOf(out[attrs.joined ? 0 : 2])) {
  if (!attrs.joined) return;
  int64_t first = 0;
  for (const auto& [part, heads] : {std::pair(&q, in[0].shape[1]), {&k, in[1].shape[1]}, {&v, in[1].shape[1]}}) {
    part->memory += first * part->strides[1] * int64_t(itemSize(part->dtype));
    part->shape[1] = heads;
    first += heads;
  }
}

const ComputeIn precision(Precision::Low, {"scaledDotProductAttention"});

}  // namespace anneal::ops
