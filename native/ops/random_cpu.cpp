// How random numbers are drawn on the CPU.
#include <algorithm>

#include "cpu/convert.h"
#include "cpu/copy.h"
#include "cpu/philox.h"
#include "ops/random.h"
#include "runtime/philox.h"

namespace anneal::ops {
namespace {

/// Random bits of a uniform number that the dtype's significand can hold, so that rounding never reaches the upper end.
constexpr int digitsOf(DType dtype) { return dtype == DType::Float16 ? 11 : (dtype == DType::BFloat16 ? 8 : 24); }

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

}  // namespace
}  // namespace anneal::ops
