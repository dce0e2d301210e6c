#include "ops/optimizers.h"

#include <cmath>

#include "cpu/convert.h"
#include "cpu/parallel.h"
#include "cpu/update.h"

namespace anneal::ops {
namespace {

constexpr size_t kScalars = 2;  // the learning rate and the step come before the tensors

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

/// Everything of an update but its name: `ruleOf` makes the rule for the elements from the settings.
template <class A, class R>
Op<A> updateOp(std::string name, std::string doc, std::vector<Field> attrs, void (*kernel)(const Call<A>&)) {
  Implement<A>(name, DeviceType::Cpu, kernel);
  return Op<A>({.name = std::move(name),
                .doc = std::move(doc),
                .inputs = {"lr", "step", "tensors..."},
                .attrs = std::move(attrs),
                .outputs = {"updated..."},
                .infer = inferUpdate<A, R>,
                .nonDifferentiable = true,
                .method = false,
                .internal = true,
                .donor = donorOf<R>});
}

void sgdCpu(const Call<SgdUpdate>& c) {
  const auto& a = c.attrs;
  // The first step takes the gradient undamped for the momentum, as PyTorch does.
  double keep = number(c.in[1]) <= 1 ? 1 : 1 - a.dampening;
  cpu::update(rules::Sgd{number(c.in[0]), a.momentum, keep, a.weightDecay, a.nesterov}, c.in.subspan(kScalars), c.out);
}

void adamCpu(const Call<AdamUpdate>& c) {
  const auto& a = c.attrs;
  double lr = number(c.in[0]), step = number(c.in[1]);
  rules::Adam rule{.stepSize = lr / (1 - std::pow(a.beta1, step)),
                   .beta1 = a.beta1,
                   .beta2 = a.beta2,
                   .rootCorrection = std::sqrt(1 - std::pow(a.beta2, step)),
                   .eps = a.eps,
                   .decay = a.decoupled ? 0 : a.weightDecay,
                   .shrink = a.decoupled ? 1 - lr * a.weightDecay : 1};
  cpu::update(rule, c.in.subspan(kScalars), c.out);
}

void rmsPropCpu(const Call<RmsPropUpdate>& c) {
  const auto& a = c.attrs;
  cpu::update(rules::RmsProp{number(c.in[0]), a.alpha, a.eps, a.momentum, a.weightDecay, a.centered},
              c.in.subspan(kScalars), c.out);
}

void adagradCpu(const Call<AdagradUpdate>& c) {
  const auto& a = c.attrs;
  double lr = number(c.in[0]) / (1 + (number(c.in[1]) - 1) * a.lrDecay);
  cpu::update(rules::Adagrad{lr, a.eps, a.weightDecay}, c.in.subspan(kScalars), c.out);
}

void adadeltaCpu(const Call<AdadeltaUpdate>& c) {
  const auto& a = c.attrs;
  cpu::update(rules::Adadelta{number(c.in[0]), a.rho, a.eps, a.weightDecay}, c.in.subspan(kScalars), c.out);
}

void lionCpu(const Call<LionUpdate>& c) {
  const auto& a = c.attrs;
  double lr = number(c.in[0]);
  cpu::update(rules::Lion{lr, a.beta1, a.beta2, 1 - lr * a.weightDecay}, c.in.subspan(kScalars), c.out);
}

constexpr int64_t kPart = 4096;

/// The sum of squares of a tensor: in parts, so that the result does not depend on the number of threads.
double squaredNorm(const View& v) {
  std::vector<double> parts(size_t((v.size() + kPart - 1) / kPart));
  visitType(v.dtype, [&]<class T>(TypeTag<T>) {
    using C = std::conditional_t<std::is_same_v<T, double>, double, float>;
    cpu::parallelFor(int64_t(parts.size()), 4, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        constexpr int kLanes = 16;
        C sums[kLanes] = {};
        int64_t at = part * kPart, stop = std::min(v.size(), at + kPart);
        for (; at + kLanes <= stop; at += kLanes)
          for (int lane = 0; lane < kLanes; ++lane) {
            C x = cpu::convertTo<C>(v.as<T>()[at + lane]);
            sums[lane] += x * x;
          }
        double total = 0;
        for (C s : sums) total += double(s);
        for (; at < stop; ++at) {
          auto x = cpu::convertTo<double>(v.as<T>()[at]);
          total += x * x;
        }
        parts[size_t(part)] = total;
      }
    });
  });
  double total = 0;
  for (double p : parts) total += p;
  return total;
}

/// out = a * x + b * y, element by element, for equal types; `x` may be the output itself.
void combine(double a, const View& x, double b, const View* y, const View& out) {
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    using C = std::conditional_t<std::is_same_v<T, double>, double, float>;
    cpu::parallelFor(out.size(), 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        C value = C(a) * cpu::convertTo<C>(x.as<T>()[i]);
        if (y) value += C(b) * cpu::convertTo<C>(y->as<T>()[i]);
        out.as<T>()[i] = cpu::convertTo<T>(value);
      }
    });
  });
}

void lambCpu(const Call<LambUpdate>& c) {
  const auto& a = c.attrs;
  double lr = number(c.in[0]), step = number(c.in[1]);
  auto in = c.in.subspan(kScalars);
  const size_t n = in.size() / 4;
  rules::LambDirection rule{a.beta1, a.beta2,      1 - std::pow(a.beta1, step), 1 - std::pow(a.beta2, step),
                            a.eps,   a.weightDecay};
  for (size_t i = 0; i < n; ++i) {
    // The direction needs memory of its own: the parameter is read once more afterwards.
    std::vector<std::byte> memory(size_t(in[i].size()) * itemSize(in[i].dtype));
    View direction = in[i];
    direction.memory = memory.data();
    const View from[] = {in[i], in[n + i], in[2 * n + i], in[3 * n + i]},
               to[] = {direction, c.out[n + i], c.out[2 * n + i]};
    if (memory.empty()) continue;
    cpu::update(rule, from, to);
    double weight = std::sqrt(squaredNorm(in[i])), length = std::sqrt(squaredNorm(direction));
    combine(1, in[i], weight > 0 && length > 0 ? -lr * weight / length : -lr, &direction, c.out[i]);
  }
}

void clipNormCpu(const Call<ClipNorm>& c) {
  double total = 0;
  for (const View& v : c.in) total += squaredNorm(v);
  double norm = std::sqrt(total), scale = c.attrs.maxNorm / (norm + 1e-6);
  // A norm that is not a number must reach the parameters rather than be hidden.
  for (size_t i = 0; i < c.in.size(); ++i)
    combine(scale < 1 || std::isnan(scale) ? scale : 1, c.in[i], 0, nullptr, c.out[i]);
  *c.out.back().as<float>() = float(norm);
}
const Implement<ClipNorm> clipNormOnCpu("clipByGlobalNorm", DeviceType::Cpu, clipNormCpu);

}  // namespace

const Op<SgdUpdate> sgdUpdate = updateOp<SgdUpdate, rules::Sgd>(
    "sgdUpdate", "One step of gradient descent with momentum.",
    {field<&SgdUpdate::momentum>("momentum", "the part of the last update that is kept"),
     field<&SgdUpdate::dampening>("dampening", "how much less than 1 the gradient weighs in the momentum"),
     field<&SgdUpdate::weightDecay>("weightDecay", "added to the gradient, times the parameter"),
     field<&SgdUpdate::nesterov>("nesterov", "look ahead along the momentum")},
    sgdCpu);

const Op<AdamUpdate> adamUpdate = updateOp<AdamUpdate, rules::Adam>(
    "adamUpdate", "One step of Adam or AdamW.",
    {field<&AdamUpdate::beta1>("beta1", "the decay of the mean gradient"),
     field<&AdamUpdate::beta2>("beta2", "the decay of the mean squared gradient"),
     field<&AdamUpdate::eps>("eps", "added to the denominator"),
     field<&AdamUpdate::weightDecay>("weightDecay", "the weight decay"),
     field<&AdamUpdate::decoupled>("decoupled", "decay the parameter itself, not through the gradient")},
    adamCpu);

const Op<RmsPropUpdate> rmsPropUpdate = updateOp<RmsPropUpdate, rules::RmsProp>(
    "rmsPropUpdate", "One step of RMSprop.",
    {field<&RmsPropUpdate::alpha>("alpha", "the decay of the mean squared gradient"),
     field<&RmsPropUpdate::eps>("eps", "added to the denominator"),
     field<&RmsPropUpdate::momentum>("momentum", "the part of the last update that is kept"),
     field<&RmsPropUpdate::weightDecay>("weightDecay", "added to the gradient, times the parameter"),
     field<&RmsPropUpdate::centered>("centered", "divide by the standard deviation instead")},
    rmsPropCpu);

const Op<AdagradUpdate> adagradUpdate = updateOp<AdagradUpdate, rules::Adagrad>(
    "adagradUpdate", "One step of Adagrad.",
    {field<&AdagradUpdate::lrDecay>("lrDecay", "the decay of the learning rate"),
     field<&AdagradUpdate::eps>("eps", "added to the denominator"),
     field<&AdagradUpdate::weightDecay>("weightDecay", "added to the gradient, times the parameter")},
    adagradCpu);

const Op<AdadeltaUpdate> adadeltaUpdate = updateOp<AdadeltaUpdate, rules::Adadelta>(
    "adadeltaUpdate", "One step of Adadelta.",
    {field<&AdadeltaUpdate::rho>("rho", "the decay of the mean squares"),
     field<&AdadeltaUpdate::eps>("eps", "added under the roots"),
     field<&AdadeltaUpdate::weightDecay>("weightDecay", "added to the gradient, times the parameter")},
    adadeltaCpu);

const Op<LionUpdate> lionUpdate = updateOp<LionUpdate, rules::Lion>(
    "lionUpdate", "One step of Lion.",
    {field<&LionUpdate::beta1>("beta1", "how much the momentum weighs in the direction"),
     field<&LionUpdate::beta2>("beta2", "the decay of the momentum"),
     field<&LionUpdate::weightDecay>("weightDecay", "the decoupled weight decay")},
    lionCpu);

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
                                           Specs out;
                                           for (const Tensor& t : c.in) {
                                             require(isFloat(t.dtype()), Code::DType, c.op,
                                                     ": takes floating-point tensors; got ", t);
                                             out.push_back(t.spec());
                                           }
                                           out.push_back({{}, DType::Float32});
                                           return out;
                                         },
                                     .nonDifferentiable = true,
                                     .method = false});

}  // namespace anneal::ops
