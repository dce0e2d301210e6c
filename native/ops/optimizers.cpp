#include "ops/optimizers.h"

#include <cmath>

#include "cpu/convert.h"
#include "cpu/norms.h"
#include "cpu/update.h"
#include "ops/optimizer_rules.h"

namespace anneal::ops {
namespace {

constexpr size_t kScalars = UpdateInputs::Tensors;

const std::vector<std::string> kUpdateInputs = {"lr", "step", "scale", "limit", "tensors..."};

/// The value of a scalar input.
double number(const View& v) {
  return visitType(v.dtype, [&]<class T>(TypeTag<T>) { return cpu::convertTo<double>(*v.as<T>()); });
}

template <class A, class R>
Specs inferUpdate(const Args<A>& c) {
  const size_t blocks = 2 + R::states, tensors = c.in.size() - kScalars, n = tensors / blocks;
  require(tensors % blocks == 0, Code::Value, c.op, ": expected ", blocks, " blocks of as many tensors; got ", tensors,
          " tensors");
  Specs out;
  for (size_t block = 0; block < blocks; ++block) {
    for (size_t i = 0; i < n; ++i) {
      const Spec &p = c.in[kScalars + i].spec(), &t = c.in[kScalars + block * n + i].spec();
      // States of 16-bit parameters are float32.
      Spec expected{p.shape, block < 2 ? p.dtype : (p.dtype == DType::Float64 ? p.dtype : DType::Float32)};
      require(isFloat(p.dtype), Code::DType, c.op, ": only floating-point parameters are updated; got ", p);
      require(t == expected, Code::Shape, c.op, ": parameter ", i, ": expected a ", block == 1 ? "gradient" : "state",
              " of ", expected, "; got ", t);
      if (block != 1) out.push_back(t);
    }
  }
  return out;
}

template <class R>
int donorOf(size_t output, size_t inputs) {
  size_t n = (inputs - kScalars) / (2 + R::states);
  return int(kScalars + (output < n ? output : output + n));  // gradients lie between parameters and states
}

template <class A>
double learningRate(const Call<A>& c) {
  return number(c.in[UpdateInputs::Lr]);
}
template <class A>
double stepOf(const Call<A>& c) {
  return number(c.in[UpdateInputs::Step]);
}

template <class A>
cpu::Clip clipOf(const Call<A>& c) {
  return {number(c.in[UpdateInputs::Scale]), number(c.in[UpdateInputs::Limit])};
}

/// Applies a rule for the elements to what a call is given.
template <class A, class R>
void applyRule(const Call<A>& c, const R& rule) {
  cpu::update(rule, clipOf(c), c.in.subspan(kScalars), c.out);
}

/// Everything of an update but its name: `ruleOf` makes the rule for the elements from the settings.
template <class A, class R>
Op<A> updateOp(std::string name, std::string doc, std::vector<Field> attrs, void (*kernel)(const Call<A>&)) {
  Implement<A>(name, DeviceType::Cpu, kernel);
  return Op<A>({.name = std::move(name),
                .doc = std::move(doc),
                .inputs = kUpdateInputs,
                .attrs = std::move(attrs),
                .outputs = {"updated..."},
                .infer = inferUpdate<A, R>,
                .nonDifferentiable = true,
                .method = false,
                .internal = true,
                .donor = donorOf<R>,
                .keeps = true});
}

template <class A>
void updateCpu(const Call<A>& c) {
  applyRule(c, ruleOf(c.attrs, learningRate(c), stepOf(c)));
}

void lambCpu(const Call<LambUpdate>& c) {
  const double lr = learningRate(c);
  const cpu::Clip clip = clipOf(c);
  auto in = c.in.subspan(kScalars);
  const size_t n = in.size() / 4;
  const rules::LambDirection rule = ruleOf(c.attrs, lr, stepOf(c));
  for (size_t i = 0; i < n; ++i) {
    // The direction needs memory of its own: the parameter is read once more afterwards.
    std::vector<std::byte> memory(size_t(in[i].size()) * itemSize(in[i].dtype));
    View direction = in[i];
    direction.memory = memory.data();
    const View from[] = {in[i], in[n + i], in[2 * n + i], in[3 * n + i]},
               to[] = {direction, c.out[n + i], c.out[2 * n + i]};
    if (memory.empty()) continue;
    cpu::update(rule, clip, from, to);
    double weight = std::sqrt(cpu::squaredNorm({&in[i], 1})), length = std::sqrt(cpu::squaredNorm({&direction, 1}));
    cpu::addScaled(in[i], weight > 0 && length > 0 ? -lr * weight / length : -lr, direction, c.out[i]);
  }
}

/// The norm of all tensors together, and what to multiply them by so that it is at most `maxNorm`.
struct Norm {
  double norm, scale;
  Norm(const ClipNorm& attrs, std::span<const View> tensors) : norm(std::sqrt(cpu::squaredNorm(tensors))) {
    scale = attrs.maxNorm / (norm + 1e-6);
    // A norm that is not a number must reach the parameters rather than be hidden.
    if (scale >= 1) scale = 1;
  }
};

void clipNormCpu(const Call<ClipNorm>& c) {
  const Norm found(c.attrs, c.in);
  cpu::scale(c.in, found.scale, c.out.first(c.in.size()));
  *c.out.back().as<float>() = float(found.norm);
}
const Implement<ClipNorm> clipNormOnCpu("clipByGlobalNorm", DeviceType::Cpu, clipNormCpu);

void globalNormCpu(const Call<ClipNorm>& c) {
  const Norm found(c.attrs, c.in);
  *c.out[0].as<float>() = float(found.norm);
  *c.out[1].as<double>() = found.scale;
}
const Implement<ClipNorm> globalNormOnCpu("globalNorm", DeviceType::Cpu, globalNormCpu);

void requireFloats(const Args<ClipNorm>& c) {
  for (const Tensor& t : c.in)
    require(isFloat(t.dtype()), Code::DType, c.op, ": takes floating-point tensors; got ", t);
}

}  // namespace

const Op<DescentUpdate> descentUpdate = updateOp<DescentUpdate, rules::Descent>(
    "descentUpdate", "One step of gradient descent.",
    {field<&DescentUpdate::weightDecay>("weightDecay", "added to the gradient, times the parameter")},
    updateCpu<DescentUpdate>);

const Op<SgdUpdate> sgdUpdate = updateOp<SgdUpdate, rules::Sgd>(
    "sgdUpdate", "One step of gradient descent with momentum.",
    {field<&SgdUpdate::momentum>("momentum", "the part of the last update that is kept"),
     field<&SgdUpdate::dampening>("dampening", "how much less than 1 the gradient weighs in the momentum"),
     field<&SgdUpdate::weightDecay>("weightDecay", "added to the gradient, times the parameter"),
     field<&SgdUpdate::nesterov>("nesterov", "look ahead along the momentum")},
    updateCpu<SgdUpdate>);

const Op<AdamUpdate> adamUpdate = updateOp<AdamUpdate, rules::Adam>(
    "adamUpdate", "One step of Adam or AdamW.",
    {field<&AdamUpdate::beta1>("beta1", "the decay of the mean gradient"),
     field<&AdamUpdate::beta2>("beta2", "the decay of the mean squared gradient"),
     field<&AdamUpdate::eps>("eps", "added to the denominator"),
     field<&AdamUpdate::weightDecay>("weightDecay", "the weight decay"),
     field<&AdamUpdate::decoupled>("decoupled", "decay the parameter itself, not through the gradient")},
    updateCpu<AdamUpdate>);

const Op<RmsPropUpdate> rmsPropUpdate = updateOp<RmsPropUpdate, rules::RmsProp>(
    "rmsPropUpdate", "One step of RMSprop.",
    {field<&RmsPropUpdate::alpha>("alpha", "the decay of the mean squared gradient"),
     field<&RmsPropUpdate::eps>("eps", "added to the denominator"),
     field<&RmsPropUpdate::momentum>("momentum", "the part of the last update that is kept"),
     field<&RmsPropUpdate::weightDecay>("weightDecay", "added to the gradient, times the parameter"),
     field<&RmsPropUpdate::centered>("centered", "divide by the standard deviation instead")},
    updateCpu<RmsPropUpdate>);

const Op<AdagradUpdate> adagradUpdate = updateOp<AdagradUpdate, rules::Adagrad>(
    "adagradUpdate", "One step of Adagrad.",
    {field<&AdagradUpdate::lrDecay>("lrDecay", "the decay of the learning rate"),
     field<&AdagradUpdate::eps>("eps", "added to the denominator"),
     field<&AdagradUpdate::weightDecay>("weightDecay", "added to the gradient, times the parameter")},
    updateCpu<AdagradUpdate>);

const Op<AdadeltaUpdate> adadeltaUpdate = updateOp<AdadeltaUpdate, rules::Adadelta>(
    "adadeltaUpdate", "One step of Adadelta.",
    {field<&AdadeltaUpdate::rho>("rho", "the decay of the mean squares"),
     field<&AdadeltaUpdate::eps>("eps", "added under the roots"),
     field<&AdadeltaUpdate::weightDecay>("weightDecay", "added to the gradient, times the parameter")},
    updateCpu<AdadeltaUpdate>);

const Op<LionUpdate> lionUpdate = updateOp<LionUpdate, rules::Lion>(
    "lionUpdate", "One step of Lion.",
    {field<&LionUpdate::beta1>("beta1", "how much the momentum weighs in the direction"),
     field<&LionUpdate::beta2>("beta2", "the decay of the momentum"),
     field<&LionUpdate::weightDecay>("weightDecay", "the decoupled weight decay")},
    updateCpu<LionUpdate>);

const Op<LambUpdate> lambUpdate = updateOp<LambUpdate, rules::LambDirection>(
    "lambUpdate", "One step of LAMB.",
    {field<&LambUpdate::beta1>("beta1", "the decay of the mean gradient"),
     field<&LambUpdate::beta2>("beta2", "the decay of the mean squared gradient"),
     field<&LambUpdate::eps>("eps", "added to the denominator"),
     field<&LambUpdate::weightDecay>("weightDecay", "the weight decay")},
    lambCpu);

const Op<ClipNorm> clipByGlobalNorm({.name = "clipByGlobalNorm",
                                     .doc = "The tensors scaled down so that the norm of all of them together is at "
                                            "most `maxNorm` (Pascanu et al., 2013), and "
                                            "last that norm, float32, as it was.",
                                     .inputs = {"tensors..."},
                                     .attrs = {required<&ClipNorm::maxNorm>("maxNorm", "the largest norm")},
                                     .outputs = {"clipped..."},
                                     .infer =
                                         [](const Args<ClipNorm>& c) {
                                           requireFloats(c);
                                           Specs out;
                                           for (const Tensor& t : c.in) out.push_back(t.spec());
                                           out.push_back({{}, DType::Float32});
                                           return out;
                                         },
                                     .nonDifferentiable = true,
                                     .method = false});

const Op<ClipNorm> globalNorm({.name = "globalNorm",
                               .doc = "The norm of all tensors together, float32, and what to multiply them by so that "
                                      "it is at most `maxNorm`, float64.",
                               .inputs = {"tensors..."},
                               .attrs = {required<&ClipNorm::maxNorm>("maxNorm", "the largest norm")},
                               .outputs = {"norm", "scale"},
                               .infer =
                                   [](const Args<ClipNorm>& c) {
                                     requireFloats(c);
                                     return Specs{{{}, DType::Float32}, {{}, DType::Float64}};
                                   },
                               .nonDifferentiable = true,
                               .method = false,
                               .internal = true});

size_t updatedBy(const Row& row, size_t inputs, size_t outputs) { return row.keeps ? inputs - kScalars - outputs : 0; }

}  // namespace anneal::ops
