#include "ops/activation.h"

#include <cmath>

#include "ops/elementwise.h"
#include "ops/logic.h"
#include "ops/math.h"
#include "ops/operators.h"
#include "ops/slices.h"

namespace anneal::ops {
namespace {

using C = Args<None>;
using V = Vjp<None>;

// The constants of Klambauer et al., "Self-Normalizing Neural Networks" (2017).

/// An activation without attributes, whose gradient is the op `grad` of the incoming gradient and the input.
template <class F>
Op<None> activation(std::string name, std::string doc, Tensors (*vjp)(const V&)) {
  return mapOp<F>({.name = std::move(name), .doc = std::move(doc), .inputs = {"x"}, .vjp = vjp, .saves = kSaveInputs});
}

/// The gradient where a condition on the input holds, else another.
Tensors choose(const Tensor& condition, const Tensor& yes, const Tensor& no) { return {where(condition, yes, no)}; }

const Op<None> reluGrad = gradientOp<scalar::ReluGrad>(
    "reluGrad", "y", {}, [](const C& c) { return choose(c.in[1] > 0.0, c.in[0], number(0)); });

const Op<Slope> leakyReluGrad = gradientOp<scalar::LeakyReluGrad, Slope>(
    "leakyReluGrad", "x", {field<&Slope::slope>("slope", "the slope below 0")},
    [](const Args<Slope>& c) { return choose(c.in[1] > 0.0, c.in[0], c.in[0] * c.attrs.slope); });

/// The factors of the functors Elu and EluGrad.
struct EluFactors {
  double negative = 1, positive = 1, inner = 1;
  void params(double* p) const { p[0] = negative, p[1] = positive, p[2] = inner; }
};
template <class A>
EluFactors factorsOf(const A& attrs) {
  double p[3];
  attrs.params(p);
  return {p[0], p[1], p[2]};
}
const Op<EluFactors> eluGrad = gradientOp<scalar::EluGrad, EluFactors>(
    "eluGrad", "x",
    {field<&EluFactors::negative>("negative", "the factor below 0"),
     field<&EluFactors::positive>("positive", "the factor above 0"),
     field<&EluFactors::inner>("inner", "the factor inside the exponential")},
    [](const Args<EluFactors>& c) {
      const auto& a = c.attrs;
      const Tensor &g = c.in[0], &x = c.in[1];
      return choose(x > 0.0, g * a.positive, g * (exp(minimum(x, number(0)) * a.inner) * (a.negative * a.inner)));
    });

Tensor sigmoidSlope(const Tensor& s) { return s * (1.0 - s); }

const Op<None> siluGrad = gradientOp<scalar::SiluGrad>("siluGrad", "x", {}, [](const C& c) {
  Tensor s = sigmoid(c.in[1]);
  return Tensors{c.in[0] * (s + c.in[1] * sigmoidSlope(s))};
});

const Op<None> mishGrad = gradientOp<scalar::MishGrad>("mishGrad", "x", {}, [](const C& c) {
  const Tensor& x = c.in[1];
  Tensor t = tanh(softplus(x));
  return Tensors{c.in[0] * (t + x * sigmoid(x) * (1.0 - square(t)))};
});

const Op<None> geluGrad = gradientOp<scalar::GeluGrad>("geluGrad", "x", {}, [](const C& c) {
  const Tensor& x = c.in[1];
  Tensor area = (erf(x * std::sqrt(0.5)) + 1.0) * 0.5, density = exp(square(x) * -0.5) * 0.39894228040143268;
  return Tensors{c.in[0] * (area + x * density)};
});

const Op<None> geluTanhGrad = gradientOp<scalar::GeluTanhGrad>("geluTanhGrad", "x", {}, [](const C& c) {
  constexpr double k = 0.79788456080286536, cubic = 0.044715;
  const Tensor& x = c.in[1];
  Tensor square_ = square(x), t = tanh((x + x * square_ * cubic) * k);
  Tensor slope = x * (1.0 - square(t)) * (square_ * (3 * cubic) + 1.0) * k;
  return Tensors{c.in[0] * (t + slope + 1.0) * 0.5};
});

const Op<Softplus> softplusGrad =
    gradientOp<scalar::SoftplusGrad, Softplus>("softplusGrad", "x",
                                               {field<&Softplus::beta>("beta", "the sharpness"),
                                                field<&Softplus::threshold>("threshold", "where it becomes linear")},
                                               [](const Args<Softplus>& c) {
                                                 const Tensor &g = c.in[0], z = c.in[1] * c.attrs.beta;
                                                 return choose(z > c.attrs.threshold, g, g * sigmoid(z));
                                               });

const Op<None> hardSigmoidGrad = gradientOp<scalar::HardSigmoidGrad>("hardSigmoidGrad", "x", {}, [](const C& c) {
  return choose(logicalAnd(c.in[1] > -3.0, c.in[1] < 3.0), c.in[0] / 6.0, number(0));
});

const Op<None> hardSwishGrad = gradientOp<scalar::HardSwishGrad>("hardSwishGrad", "x", {}, [](const C& c) {
  const Tensor &g = c.in[0], &x = c.in[1];
  return choose(x <= -3.0, number(0), where(x < 3.0, g * (x / 3.0 + 0.5), g));
});

const Op<HardTanh> hardTanhGrad = gradientOp<scalar::HardTanhGrad, HardTanh>(
    "hardTanhGrad", "x",
    {field<&HardTanh::min>("min", "the lower bound"), field<&HardTanh::max>("max", "the upper bound")},
    [](const Args<HardTanh>& c) {
      return choose(logicalAnd(c.in[1] > c.attrs.min, c.in[1] < c.attrs.max), c.in[0], number(0));
    });

void geluCpu(const Call<Gelu>& call) {
  if (call.attrs.approximate == GeluForm::Tanh) cpu::mapKernel<scalar::GeluTanh, Gelu>(call);
  else cpu::mapKernel<scalar::Gelu, Gelu>(call);
}
const Implement<Gelu> geluOnCpu("gelu", DeviceType::Cpu, geluCpu);

/// The two halves of `x` along an axis: what is gated, or the gate, comes first by the op's definition.
Tensors halves(const Args<Halves>& c) {
  const Tensor& x = c.in[0];
  int64_t axis = resolveAxis(c.op, c.attrs.axis, x.rank()), size = x.shape()[int(axis)];
  require(size % 2 == 0, Code::Shape, c.op, ": expected an even size along axis ", c.attrs.axis, "; got ", x.shape());
  return {narrow(x, {.axis = axis, .start = 0, .size = size / 2}),
          narrow(x, {.axis = axis, .start = size / 2, .size = size / 2})};
}

/// A gated linear unit (Shazeer, "GLU Variants Improve Transformer", 2020).
Op<Halves> gatedOp(std::string name, std::string doc, Tensors (*lower)(const Args<Halves>&)) {
  return Op<Halves>({.name = std::move(name),
                     .doc = std::move(doc) + ", where `a` and `b` are the halves of `x` along `axis`.",
                     .inputs = {"x"},
                     .attrs = {field<&Halves::axis>("axis", "the axis to halve")},
                     .lower = lower});
}

struct SeluFactors {
  void params(double* p) const { p[0] = kSeluAlpha * kSeluScale, p[1] = kSeluScale, p[2] = 1; }
};
void seluCpu(const Call<None>& call) { cpu::mapKernel<scalar::Elu, SeluFactors>({SeluFactors{}, call.in, call.out}); }
const Implement<None> seluOnCpu("selu", DeviceType::Cpu, seluCpu);

}  // namespace

const Op<None> relu = mapOp<scalar::Relu>({.name = "relu",
                                           .doc = "The rectified linear unit, `max(x, 0)`; its gradient at 0 is 0.",
                                           .inputs = {"x"},
                                           .vjp = [](const V& v) { return Tensors{reluGrad(v.grad(), v.out())}; },
                                           .saves = {.outputs = {0}}});

const Op<None> relu6({.name = "relu6", .doc = "`min(max(x, 0), 6)`.", .inputs = {"x"}, .lower = [](const C& c) {
                        return Tensors{hardTanh(c.in[0], {.min = 0, .max = 6})};
                      }});

const Op<Slope> leakyRelu = mapOp<scalar::LeakyRelu, Slope>(
    {.name = "leakyRelu",
     .doc = "`x` above 0, `slope * x` below.",
     .inputs = {"x"},
     .attrs = {field<&Slope::slope>("slope", "the slope below 0")},
     .vjp = [](const Vjp<Slope>& v) { return Tensors{leakyReluGrad(v.grad(), v.in(), v.attrs)}; },
     .saves = kSaveInputs});

const Op<None> prelu(
    {.name = "prelu",
     .doc = "`x` above 0, `weight * x` below. The learnt `weight` is a scalar or one number for each channel, "
            "the last axis of `x` (He et al., 2015).",
     .inputs = {"x", "weight"},
     .lower = [](const C& c) {
       const Tensor &x = c.in[0], &w = c.in[1];
       require(w.size() == 1 || (w.rank() == 1 && x.rank() > 0 && w.size() == x.size(-1)), Code::Shape, c.op,
               ": expected a weight with 1 element or the size of the last axis of ", x.shape(), "; got ", w.shape());
       return Tensors{where(x > 0.0, x, x * w)};
     }});

const Op<Elu> elu = mapOp<scalar::Elu, Elu>(
    {.name = "elu",
     .doc = "`x` above 0, `alpha * (exp(x) - 1)` below (Clevert et al., 2016).",
     .inputs = {"x"},
     .attrs = {field<&Elu::alpha>("alpha", "minus the limit far below 0")},
     .vjp = [](const Vjp<Elu>& v) { return Tensors{eluGrad(v.grad(), v.in(), factorsOf(v.attrs))}; },
     .saves = kSaveInputs});

const Op<Celu> celu = mapOp<scalar::Elu, Celu>(
    {.name = "celu",
     .doc = "`x` above 0, `alpha * (exp(x / alpha) - 1)` below (Barron, 2017).",
     .inputs = {"x"},
     .attrs = {field<&Celu::alpha>("alpha", "minus the limit far below 0; not 0")},
     .infer =
         [](const Args<Celu>& c) {
           require(c.attrs.alpha != 0, Code::Value, c.op, ": expected an alpha other than 0");
           return inferFloatMap(c);
         },
     .vjp = [](const Vjp<Celu>& v) { return Tensors{eluGrad(v.grad(), v.in(), factorsOf(v.attrs))}; },
     .saves = kSaveInputs});

const Op<None> selu({.name = "selu",
                     .doc = "The scaled exponential linear unit (Klambauer et al., 2017).",
                     .inputs = {"x"},
                     .infer = inferFloatMap<None>,
                     .vjp = [](const V& v) { return Tensors{eluGrad(v.grad(), v.in(), factorsOf(SeluFactors{}))}; },
                     .saves = kSaveInputs,
                     .anyStrides = true,
                     .overwrites = true,
                     .pointwise = [](const None&) { return cpu::pointwise<scalar::Elu>(SeluFactors{}); }});

const Op<Gelu> gelu({.name = "gelu",
                     .doc = "The Gaussian error linear unit, `x * Phi(x)` (Hendrycks and Gimpel, 2016).",
                     .inputs = {"x"},
                     .attrs = {field<&Gelu::approximate>(
                         "approximate", "'tanh' for the approximation by a hyperbolic tangent", {"none", "tanh"})},
                     .infer = inferFloatMap<Gelu>,
                     .vjp =
                         [](const Vjp<Gelu>& v) {
                           const auto& grad = v.attrs.approximate == GeluForm::Tanh ? geluTanhGrad : geluGrad;
                           return Tensors{grad(v.grad(), v.in())};
                         },
                     .saves = kSaveInputs,
                     .anyStrides = true,
                     .overwrites = true,
                     .pointwise =
                         [](const Gelu& attrs) {
                           return attrs.approximate == GeluForm::Tanh ? cpu::pointwise<scalar::GeluTanh, Gelu>(attrs)
                                                                      : cpu::pointwise<scalar::Gelu, Gelu>(attrs);
                         }});

const Op<None> silu = activation<scalar::Silu>("silu", "`x * sigmoid(x)`, also called swish.",
                                               [](const V& v) { return Tensors{siluGrad(v.grad(), v.in())}; });
const Op<None> mish = activation<scalar::Mish>("mish", "`x * tanh(softplus(x))` (Misra, 2019).",
                                               [](const V& v) { return Tensors{mishGrad(v.grad(), v.in())}; });
const Op<None> hardSwish =
    activation<scalar::HardSwish>("hardSwish", "`x * hardSigmoid(x)` (Howard et al., 2019).",
                                  [](const V& v) { return Tensors{hardSwishGrad(v.grad(), v.in())}; });
const Op<None> hardSigmoid =
    activation<scalar::HardSigmoid>("hardSigmoid", "`clamp(x / 6 + 1 / 2, 0, 1)`.",
                                    [](const V& v) { return Tensors{hardSigmoidGrad(v.grad(), v.in())}; });
const Op<None> logSigmoid =
    activation<scalar::LogSigmoid>("logSigmoid", "`log(sigmoid(x))`, exact far below 0.",
                                   [](const V& v) { return Tensors{v.grad() * sigmoid(-v.in())}; });

const Op<HardTanh> hardTanh = mapOp<scalar::Clamp, HardTanh>(
    {.name = "hardTanh",
     .doc = "`x` limited to the range from `min` to `max`; unlike that of `clamp`, its gradient is 0 at the bounds.",
     .inputs = {"x"},
     .attrs = {field<&HardTanh::min>("min", "the lower bound"), field<&HardTanh::max>("max", "the upper bound")},
     .vjp = [](const Vjp<HardTanh>& v) { return Tensors{hardTanhGrad(v.grad(), v.in(), v.attrs)}; },
     .saves = kSaveInputs});

const Op<Softplus> softplus = mapOp<scalar::Softplus, Softplus>(
    {.name = "softplus",
     .doc = "`log(1 + exp(beta * x)) / beta`, a smooth `relu`.",
     .inputs = {"x"},
     .attrs = {field<&Softplus::beta>("beta", "the sharpness"),
               field<&Softplus::threshold>("threshold", "where `beta * x` is above this the result is `x`")},
     .vjp = [](const Vjp<Softplus>& v) { return Tensors{softplusGrad(v.grad(), v.in(), v.attrs)}; },
     .saves = kSaveInputs});

const Op<None> softsign({.name = "softsign", .doc = "`x / (1 + |x|)`.", .inputs = {"x"}, .lower = [](const C& c) {
                           return Tensors{c.in[0] / (abs(c.in[0]) + 1.0)};
                         }});

const Op<None> tanhShrink({.name = "tanhShrink", .doc = "`x - tanh(x)`.", .inputs = {"x"}, .lower = [](const C& c) {
                             return Tensors{c.in[0] - tanh(c.in[0])};
                           }});

const Op<Halves> glu = gatedOp("glu", "`a * sigmoid(b)`", [](const Args<Halves>& c) {
  Tensors x = halves(c);
  return Tensors{x[0] * sigmoid(x[1])};
});
const Op<Halves> reglu = gatedOp("reglu", "`relu(a) * b`", [](const Args<Halves>& c) {
  Tensors x = halves(c);
  return Tensors{relu(x[0]) * x[1]};
});
const Op<Halves> geglu = gatedOp("geglu", "`gelu(a) * b`", [](const Args<Halves>& c) {
  Tensors x = halves(c);
  return Tensors{gelu(x[0]) * x[1]};
});
const Op<Halves> swiglu = gatedOp("swiglu", "`silu(a) * b`", [](const Args<Halves>& c) {
  Tensors x = halves(c);
  return Tensors{silu(x[0]) * x[1]};
});

const Op<Threshold> threshold({.name = "threshold",
                               .doc = "`x` where it is above `limit`, else `value`.",
                               .inputs = {"x"},
                               .attrs = {required<&Threshold::limit>("limit", "the bound"),
                                         required<&Threshold::value>("value",
                                                                     "what stands for the elements not above it")},
                               .lower = [](const Args<Threshold>& c) {
                                 return Tensors{where(c.in[0] > c.attrs.limit, c.in[0], number(c.attrs.value))};
                               }});

}  // namespace anneal::ops
