#include "ops/random.h"

#include <algorithm>

#include "cpu/convert.h"
#include "cpu/copy.h"
#include "cpu/philox.h"
#include "op/infer.h"
#include "op/key.h"
#include "ops/creation.h"
#include "runtime/philox.h"

namespace anneal::ops {

NormalRange rangeOf(const TruncatedNormal& a) {
  const bool mirrored = a.low > a.mean;
  const double scale = mirrored ? -a.std : a.std;
  const auto below = [&](double x) { return std::erfc((a.mean - x) / scale / std::sqrt(2.0)) / 2; };
  return {below(mirrored ? a.high : a.low), below(mirrored ? a.low : a.high), scale};
}

namespace {

/// Random bits of a uniform number that the dtype's significand can hold, so that rounding never reaches the upper end.
constexpr int digitsOf(DType dtype) { return dtype == DType::Float16 ? 11 : (dtype == DType::BFloat16 ? 8 : 24); }

template <class A>
void requireFloat(const Args<A>& c) {
  require(isFloat(c.attrs.dtype), Code::DType, c.op, ": dtype must be a floating-point type; got ", c.attrs.dtype);
}
template <class A>
Specs specOf(const Args<A>& c) {
  return {{Shape(c.attrs.shape), c.attrs.dtype}};
}
void requireProbability(const std::string& op, double p) {
  require(p >= 0 && p <= 1, Code::Value, op, ": p must be from 0 to 1; got ", p);
}

void randomUniformCpu(const Call<RandomUniform>& call) {
  const View& out = call.out[0];
  const int digits = digitsOf(out.dtype);
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    constexpr bool wide = std::is_same_v<T, double>;
    using C = std::conditional_t<wide, double, float>;
    const auto low = C(call.attrs.low), high = C(call.attrs.high);
    cpu::eachRandomTile(cpu::Key(call.in[0]), out.size(), wide,
                        [&](int64_t first, int64_t n, const uint32_t* words, const uint32_t* more) {
                          T* to = out.as<T>() + first;
                          for (int64_t i = 0; i < n; ++i) {
                            C share;
                            if constexpr (wide) share = philox::uniform(words[i], more[i]);
                            else share = philox::uniform(words[i], digits);
                            // Where the bounds are far from 0, rounding may give `high` itself, which is left out.
                            const T value = cpu::convertTo<T>(low + share * (high - low));
                            to[i] = cpu::convertTo<C>(value) < high ? value : cpu::convertTo<T>(low);
                          }
                        });
  });
}

/// Lanes come in pairs: an even element is the cosine, the odd one after it the sine of the same radius and angle.
void normalTile(const RandomNormal& a, int64_t n, const uint32_t* words, const uint32_t* more, double* to) {
  auto uniform = [&](int64_t i) { return philox::uniform(words[i], more[i]); };
  for (int64_t i = 0; i < n; i += 2) {
    double first, second;
    philox::normals(uniform(i), uniform(i + 1), first, second);
    to[i] = a.mean + a.std * first;
    if (i + 1 < n) to[i + 1] = a.mean + a.std * second;
  }
}

void randomNormalCpu(const Call<RandomNormal>& call) {
  const RandomNormal& a = call.attrs;
  const View& out = call.out[0];
  auto mean = float(a.mean), std = float(a.std);
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    bool wide = std::is_same_v<T, double>;
    cpu::eachRandomTile(cpu::Key(call.in[0]), out.size(), wide,
                        [&](int64_t first, int64_t n, const uint32_t* words, const uint32_t* more) {
                          T* to = out.as<T>() + first;
                          if constexpr (std::is_same_v<T, double>) {
                            normalTile(a, n, words, more, to);
                          } else {
                            float values[cpu::kRandomTile];
                            cpu::randomNormals(words, n, values);
                            for (int64_t i = 0; i < n; ++i) to[i] = cpu::convertTo<T>(mean + std * values[i]);
                          }
                        });
  });
}

void truncatedNormalCpu(const Call<TruncatedNormal>& call) {
  const TruncatedNormal& a = call.attrs;
  const NormalRange r = rangeOf(a);
  const View& out = call.out[0];
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    constexpr bool wide = std::is_same_v<T, double>;
    cpu::eachRandomTile(
        cpu::Key(call.in[0]), out.size(), wide,
        [&](int64_t first, int64_t n, const uint32_t* words, const uint32_t* more) {
          std::conditional_t<wide, double, float> values[cpu::kRandomTile];
          if constexpr (wide) {
            for (int64_t i = 0; i < n; ++i)
              values[i] =
                  a.mean + r.std * philox::inverseNormal(r.from + philox::uniform(words[i], more[i]) * (r.to - r.from));
          } else {
            cpu::truncatedNormals(words, n, r.from, r.to, a.mean, r.std, values);
          }
          for (int64_t i = 0; i < n; ++i)
            out.as<T>()[first + i] = cpu::convertTo<T>(std::clamp(double(values[i]), a.low, a.high));
        });
  });
}

void bernoulliCpu(const Call<Bernoulli>& call) {
  const View& out = call.out[0];
  uint64_t bound = philox::fraction(call.attrs.p);
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    cpu::eachRandomTile(cpu::Key(call.in[0]), out.size(), false,
                        [&](int64_t first, int64_t n, const uint32_t* words, const uint32_t*) {
                          for (int64_t i = 0; i < n; ++i)
                            out.as<T>()[first + i] = cpu::convertTo<T>(int32_t(words[i] < bound));
                        });
  });
}

void randomIntCpu(const Call<RandomInt>& call) {
  const View& out = call.out[0];
  const cpu::Key key(call.in[0]);
  const uint64_t low = uint64_t(call.attrs.low), range = uint64_t(call.attrs.high) - low;
  const bool wide = range >> 32;
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    cpu::eachRandomTile(key, out.size(), wide,
                        [&](int64_t first, int64_t n, const uint32_t* words, const uint32_t* more) {
                          T* to = out.as<T>() + first;
                          if (wide) {
                            for (int64_t i = 0; i < n; ++i)
                              to[i] = cpu::convertTo<T>(int64_t(low + philox::below(words[i], more[i], range)));
                          } else {
                            uint32_t places[cpu::kRandomTile];
                            cpu::randomBelow(key, first, words, n, range, places);
                            for (int64_t i = 0; i < n; ++i) to[i] = cpu::convertTo<T>(int64_t(low + places[i]));
                          }
                        });
  });
}

/// The order of random 64-bit numbers: any backend that sorts finds the same permutation.
void permutationCpu(const Call<Permutation>& call) {
  const View& out = call.out[0];
  std::vector<uint32_t> order(size_t(call.attrs.size));
  cpu::randomOrder(cpu::Key(call.in[0]), call.attrs.size, order.data());
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    for (size_t i = 0; i < order.size(); ++i) out.as<T>()[i] = cpu::convertTo<T>(int64_t(order[i]));
  });
}

void dropoutCpu(const Call<DropoutMask>& call) {
  const View &x = call.in[0], &out = call.out[0];
  uint64_t dropped = philox::fraction(call.attrs.p);
  if (dropped >> 32) return cpu::fill(out, 0);
  auto bound = uint32_t(dropped);
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    using C = std::conditional_t<std::is_same_v<T, double>, double, float>;
    auto scale = C(1 / (1 - call.attrs.p));
    cpu::eachRandomTile(cpu::Key(call.in[1]), out.size(), false,
                        [&](int64_t first, int64_t n, const uint32_t* words, const uint32_t*) {
                          const T* from = x.as<T>() + first;
                          T* to = out.as<T>() + first;
                          for (int64_t i = 0; i < n; ++i) {
                            C kept = cpu::convertTo<C>(from[i]) * scale;
                            to[i] = cpu::convertTo<T>(words[i] >= bound ? kept : C(0));
                          }
                        });
  });
}

const Implement<RandomUniform> uniformOnCpu("randomUniform", DeviceType::Cpu, randomUniformCpu);
const Implement<RandomNormal> normalOnCpu("randomNormal", DeviceType::Cpu, randomNormalCpu);
const Implement<TruncatedNormal> truncatedOnCpu("truncatedNormal", DeviceType::Cpu, truncatedNormalCpu);
const Implement<Bernoulli> bernoulliOnCpu("bernoulli", DeviceType::Cpu, bernoulliCpu);
const Implement<RandomInt> randomIntOnCpu("randomInt", DeviceType::Cpu, randomIntCpu);
const Implement<Permutation> permutationOnCpu("permutation", DeviceType::Cpu, permutationCpu);
const Implement<DropoutMask> dropoutOnCpu("dropoutMask", DeviceType::Cpu, dropoutCpu);

/// A random number costs about as much as this many simple operations.
template <class A>
double randomCost(const A&, std::span<const View>, std::span<const View> out) {
  return 8 * double(out[0].size());
}
double sortCost(const Permutation& a, std::span<const View>, std::span<const View>) { return 16 * double(a.size); }

/// Throws unless `dtype`, if of integers, holds those from `least` to `greatest`.
void requireHeld(const std::string& op, int64_t least, int64_t greatest, DType dtype) {
  if (isFloat(dtype)) return;
  const IntegerRange held = integerRange(dtype);
  require(least >= held.least && greatest <= held.greatest, Code::Value, op, ": ", dtype, " holds ", held, "; got ",
          least, " to ", greatest);
}

void checkRange(const Args<RandomInt>& c) {
  require(c.attrs.low < c.attrs.high, Code::Value, c.op, ": low must be less than high; got ", c.attrs.low, " and ",
          c.attrs.high);
  requireHeld(c.op, c.attrs.low, c.attrs.high - 1, c.attrs.dtype);
}

}  // namespace

const Op<RandomUniform> randomUniform(
    {.name = "randomUniform",
     .doc = "Random numbers, uniform from `low` up to, not including, `high`. Element i takes lane i % 4 of step "
            "i / 4 of Philox 4x32-10 (Salmon et al. 2011), so that a seed gives the same numbers anywhere.",
     .inputs = {"key?"},
     .attrs = {required<&RandomUniform::shape>("shape", "the sizes of the result"),
               field<&RandomUniform::low>("low", "the lower bound"),
               field<&RandomUniform::high>("high", "the upper bound"),
               field<&RandomUniform::dtype>("dtype", "a floating-point dtype")},
     .infer =
         [](const Args<RandomUniform>& c) {
           requireFloat(c);
           require(c.attrs.low <= c.attrs.high, Code::Value, c.op, ": low must be at most high; got ", c.attrs.low,
                   " and ", c.attrs.high);
           return specOf(c);
         },
     .nonDifferentiable = true,
     .method = false,
     .random = true,
     .cost = randomCost<RandomUniform>});

const Op<RandomNormal> randomNormal(
    {.name = "randomNormal",
     .doc = "Random numbers of a normal distribution, by the Box-Muller transform of pairs of uniform ones.",
     .inputs = {"key?"},
     .attrs = {required<&RandomNormal::shape>("shape", "the sizes of the result"),
               field<&RandomNormal::mean>("mean", "the mean"),
               field<&RandomNormal::std>("std", "the standard deviation"),
               field<&RandomNormal::dtype>("dtype", "a floating-point dtype")},
     .infer =
         [](const Args<RandomNormal>& c) {
           requireFloat(c);
           require(c.attrs.std >= 0, Code::Value, c.op, ": std must be 0 or more; got ", c.attrs.std);
           return specOf(c);
         },
     .nonDifferentiable = true,
     .method = false,
     .random = true,
     .cost = randomCost<RandomNormal>});

const Op<TruncatedNormal> truncatedNormal(
    {.name = "truncatedNormal",
     .doc = "Random numbers of a normal distribution restricted to `low` to `high`, through its inverse cumulative "
            "distribution.",
     .inputs = {"key?"},
     .attrs = {required<&TruncatedNormal::shape>("shape", "the sizes of the result"),
               field<&TruncatedNormal::mean>("mean", "the mean before truncation"),
               field<&TruncatedNormal::std>("std", "the standard deviation before truncation"),
               field<&TruncatedNormal::low>("low", "the least value"),
               field<&TruncatedNormal::high>("high", "the greatest value"),
               field<&TruncatedNormal::dtype>("dtype", "a floating-point dtype")},
     .infer =
         [](const Args<TruncatedNormal>& c) {
           requireFloat(c);
           require(c.attrs.std > 0, Code::Value, c.op, ": std must be greater than 0; got ", c.attrs.std);
           require(c.attrs.low < c.attrs.high, Code::Value, c.op, ": low must be less than high; got ", c.attrs.low,
                   " and ", c.attrs.high);
           require(rangeOf(c.attrs).to > 0, Code::Value, c.op, ": low ", c.attrs.low, " to high ", c.attrs.high,
                   " is too far from the mean ", c.attrs.mean, " with std ", c.attrs.std,
                   ": the probability of all of it is 0");
           return specOf(c);
         },
     .nonDifferentiable = true,
     .method = false,
     .random = true,
     .cost = [](const TruncatedNormal&, std::span<const View>,
                std::span<const View> out) { return 128 * double(out[0].size()); }});

const Op<Bernoulli> bernoulli({.name = "bernoulli",
                               .doc = "Ones with probability `p`, zeros otherwise.",
                               .inputs = {"key?"},
                               .attrs = {required<&Bernoulli::shape>("shape", "the sizes of the result"),
                                         field<&Bernoulli::p>("p", "the probability of a one"),
                                         field<&Bernoulli::dtype>("dtype", "the dtype of the result")},
                               .infer =
                                   [](const Args<Bernoulli>& c) {
                                     requireProbability(c.op, c.attrs.p);
                                     return specOf(c);
                                   },
                               .nonDifferentiable = true,
                               .method = false,
                               .random = true,
                               .cost = randomCost<Bernoulli>});

const Op<RandomInt> randomInt({.name = "randomInt",
                               .doc = "Random integers, uniform from `low` up to, not including, `high`.",
                               .inputs = {"key?"},
                               .attrs = {required<&RandomInt::shape>("shape", "the sizes of the result"),
                                         required<&RandomInt::low>("low", "the least value"),
                                         required<&RandomInt::high>("high", "the bound above, not included"),
                                         field<&RandomInt::dtype>("dtype", "the dtype of the result")},
                               .infer =
                                   [](const Args<RandomInt>& c) {
                                     checkRange(c);
                                     return specOf(c);
                                   },
                               .nonDifferentiable = true,
                               .method = false,
                               .random = true,
                               .cost = randomCost<RandomInt>});

const Op<Permutation> permutation({.name = "permutation",
                                   .doc = "The integers from 0 up to, not including, `size`, in random order.",
                                   .inputs = {"key?"},
                                   .attrs = {required<&Permutation::size>("size", "how many integers"),
                                             field<&Permutation::dtype>("dtype", "the dtype of the result")},
                                   .infer =
                                       [](const Args<Permutation>& c) {
                                         require(c.attrs.size >= 0, Code::Value, c.op, ": size must be 0 or more; got ",
                                                 c.attrs.size);
                                         require(c.attrs.size >> 32 == 0, Code::Value, c.op,
                                                 ": size must be less than 2^32; got ", c.attrs.size);
                                         requireHeld(c.op, 0, c.attrs.size - 1, c.attrs.dtype);
                                         return Specs{{{c.attrs.size}, c.attrs.dtype}};
                                       },
                                   .nonDifferentiable = true,
                                   .method = false,
                                   .random = true,
                                   .cost = sortCost});

const Op<Dropout> dropout(
    {.name = "dropout",
     .doc =
         "`x` with each element set to 0 with probability `p` and the others divided by 1 - `p`; `x` itself when not "
         "training. The gradient makes the same mask again from the key. (Srivastava et al. 2014)",
     .inputs = {"x", "key?"},
     .attrs = {field<&Dropout::p>("p", "the probability of an element to be dropped"),
               field<&Dropout::training>("training", "whether to drop at all")},
     .lower = [](const Args<Dropout>& c) {
       requireProbability(c.op, c.attrs.p);
       require(isFloat(c.in[0].dtype()), Code::DType, c.op, ": expected a floating-point tensor; got ",
               c.in[0].dtype());
       if (c.in[1]) requireKey(c.op, c.in[1]);
       if (!c.attrs.training || c.attrs.p == 0) return Tensors{c.in[0]};
       return Tensors{dropoutMask(c.in[0], c.in[1], {.p = c.attrs.p})};
     }});

const Op<DropoutMask> dropoutMask({.name = "dropoutMask",
                                   .doc = "Dropout while training.",
                                   .inputs = {"x", "key?"},
                                   .attrs = {required<&DropoutMask::p>("p",
                                                                       "the probability of an element to be dropped")},
                                   .infer = [](const Args<DropoutMask>& c) { return Specs{c.in[0].spec()}; },
                                   .vjp =
                                       [](const Vjp<DropoutMask>& v) {
                                         return Tensors{dropoutMask(v.grad(), v.in(1), v.attrs), Tensor()};
                                       },
                                   .saves = {.inputs = {1}},
                                   .internal = true,
                                   .random = true,
                                   .cost = randomCost<DropoutMask>});

}  // namespace anneal::ops
