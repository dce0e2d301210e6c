// Random numbers: the same words of the same counters as on the CPU (runtime/philox.h), so that a seed gives the same
// uniform numbers, integers, masks and permutations on every device, bit for bit; normal ones to within rounding.
#include "ops/random.h"

#include "copy.h"
#include "cpu/scalar.h"
#include "device.h"
#include "index.h"
#include "runtime/philox.h"
#include "sort.cuh"
#include "value.h"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;

/// The key of a random op: a scalar that came with the call. Of one that is in the device's memory only the place is
/// known.
struct Key {
  int64_t seed = 0, offset = 0;
  const int64_t* memory = nullptr;
  explicit Key(const View& v) : memory(reinterpret_cast<const int64_t*>(v.memory)) {
    if (memory) return;
    std::memcpy(&seed, v.scalar.data(), sizeof seed);
    std::memcpy(&offset, v.scalar.data() + sizeof seed, sizeof offset);
  }
  /// The words of elements 4 i to 4 i + 3 in a stream.
  __device__ void words(int64_t i, uint32_t stream, uint32_t (&out)[4]) const {
    const int64_t s = memory ? memory[0] : seed, o = memory ? memory[1] : offset;
    philox::block(s, uint64_t(o) + uint64_t(i), stream, out);
  }
};

/// out[i] = make(word, further word, i) for four elements at a time; the further words are drawn if `Wide`.
template <class T, bool Wide, class Make>
__global__ void __launch_bounds__(kThreads) eachWord(Key key, Make make, T* out, int64_t n) {
  const int64_t i = threadNumber();
  if (4 * i >= n) return;
  uint32_t words[4], more[4] = {};
  key.words(i, 0, words);
  if constexpr (Wide) key.words(i, 1, more);
  for (int k = 0; k < 4 && 4 * i + k < n; ++k) out[4 * i + k] = make(words[k], more[k], 4 * i + k);
}

template <class T, bool Wide, class Make>
void fillWords(const View& key, const View& out, const Make& make) {
  const int64_t n = out.size();
  if (n > 0)
    launch(eachWord<T, Wide, Make>, blocksFor((n + 3) / 4, kThreads), kThreads, 0, stream(), Key(key), make,
           out.as<T>(), n);
}

/// Calls `f` with the type of a floating-point dtype and whether it takes two words.
template <class F>
void visitFloat(DType dtype, F&& f) {
  switch (dtype) {
    case DType::Float64: return f(TypeTag<double>{}, std::true_type{});
    case DType::Float16: return f(TypeTag<Half>{}, std::false_type{});
    case DType::BFloat16: return f(TypeTag<BFloat16>{}, std::false_type{});
    default: return f(TypeTag<float>{}, std::false_type{});
  }
}

/// Random bits of a uniform number that the dtype's significand can hold.
template <class T>
constexpr int kDigits = std::is_same_v<T, Half> ? 11 : (std::is_same_v<T, BFloat16> ? 8 : 24);

/// The product is rounded before it is added to, as on the CPU.
template <class T>
struct Uniform {
  double low, high;
  __device__ T operator()(uint32_t word, uint32_t more, int64_t) const {
    if constexpr (std::is_same_v<T, double>) {
      const double x = __dadd_rn(low, __dmul_rn(philox::uniform(word, more), high - low));
      return x < high ? x : low;
    } else {
      const auto from = float(low), to = float(high);
      const float x = __fadd_rn(from, __fmul_rn(philox::uniform(word, kDigits<T>), to - from));
      return cpu::convertTo<T>(x < to ? x : from);
    }
  }
};

void uniformCuda(const Call<ops::RandomUniform>& call) {
  visitFloat(call.out[0].dtype, [&]<class T, bool W>(TypeTag<T>, std::bool_constant<W>) {
    fillWords<T, W>(call.in[0], call.out[0], Uniform<T>{call.attrs.low, call.attrs.high});
  });
}

/// Pairs of uniform numbers make pairs of normal ones: a thread makes four.
template <class T, bool Wide>
__global__ void __launch_bounds__(kThreads) normals(Key key, double mean, double std, T* out, int64_t n) {
  using C = std::conditional_t<Wide, double, float>;
  const int64_t i = threadNumber();
  if (4 * i >= n) return;
  uint32_t words[4], more[4] = {};
  key.words(i, 0, words);
  if constexpr (Wide) key.words(i, 1, more);
  C values[4];
  for (int k = 0; k < 4; k += 2) {
    if constexpr (Wide)
      philox::normals(philox::uniform(words[k], more[k]), philox::uniform(words[k + 1], more[k + 1]), values[k],
                      values[k + 1]);
    else philox::normals(philox::uniform(words[k], 24), philox::uniform(words[k + 1], 24), values[k], values[k + 1]);
  }
  for (int k = 0; k < 4 && 4 * i + k < n; ++k) out[4 * i + k] = cpu::convertTo<T>(C(mean) + C(std) * values[k]);
}

void normalCuda(const Call<ops::RandomNormal>& call) {
  const View& out = call.out[0];
  const int64_t n = out.size();
  if (n == 0) return;
  visitFloat(out.dtype, [&]<class T, bool W>(TypeTag<T>, std::bool_constant<W>) {
    launch(normals<T, W>, blocksFor((n + 3) / 4, kThreads), kThreads, 0, stream(), Key(call.in[0]), call.attrs.mean,
           call.attrs.std, out.as<T>(), n);
  });
}

template <class T>
struct Truncated {
  double from, to, mean, std, low, high;  // from and to: probabilities
  __device__ T operator()(uint32_t word, uint32_t more, int64_t) const {
    double p;
    if constexpr (std::is_same_v<T, double>) p = from + philox::uniform(word, more) * (to - from);
    else p = from + (double(word) + 0.5) * 0x1p-32 * (to - from);
    const double x = mean + std * philox::inverseNormal(p);
    return cpu::convertTo<T>(x < low ? low : (x > high ? high : x));
  }
};

double normalBelow(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

void truncatedCuda(const Call<ops::TruncatedNormal>& call) {
  const ops::TruncatedNormal& a = call.attrs;
  const double from = normalBelow((a.low - a.mean) / a.std), to = normalBelow((a.high - a.mean) / a.std);
  visitFloat(call.out[0].dtype, [&]<class T, bool W>(TypeTag<T>, std::bool_constant<W>) {
    fillWords<T, W>(call.in[0], call.out[0], Truncated<T>{from, to, a.mean, a.std, a.low, a.high});
  });
}

template <class T>
struct Below {
  uint64_t bound;
  __device__ T operator()(uint32_t word, uint32_t, int64_t) const { return cpu::convertTo<T>(int32_t(word < bound)); }
};

void bernoulliCuda(const Call<ops::Bernoulli>& call) {
  visitType(call.out[0].dtype, [&]<class T>(TypeTag<T>) {
    fillWords<T, false>(call.in[0], call.out[0], Below<T>{philox::fraction(call.attrs.p)});
  });
}

template <class T>
struct Integer {
  uint64_t low, range;
  __device__ T operator()(uint32_t word, uint32_t more, int64_t) const {
    return cpu::convertTo<T>(int64_t(low + philox::below(word, more, range)));
  }
};

void integerCuda(const Call<ops::RandomInt>& call) {
  const auto low = uint64_t(call.attrs.low), range = uint64_t(call.attrs.high) - low;
  visitType(call.out[0].dtype, [&]<class T>(TypeTag<T>) {
    fillWords<T, true>(call.in[0], call.out[0], Integer<T>{low, range});
  });
}

struct Bits {
  __device__ uint64_t operator()(uint32_t word, uint32_t more, int64_t) const { return uint64_t(word) << 32 | more; }
};

struct BitKeys {
  using Key = uint64_t;
  const uint64_t* bits;
  __device__ void load(int64_t, int64_t i, uint64_t& key, uint32_t& place) const {
    key = bits[i];
    place = uint32_t(i);
  }
};
struct Numbers {
  void* memory;
  DType dtype;
  __device__ void store(int64_t, int64_t rank, uint64_t, uint32_t place) const {
    storeAs<int64_t>(memory, dtype, rank, place);
  }
};

/// Numbers in the order of random bits.
void permutationCuda(const Call<ops::Permutation>& call) {
  const View& out = call.out[0];
  const int64_t n = out.size();
  if (n == 0) return;
  const Scratch memory(size_t(n) * sizeof(uint64_t));
  const View bits{.memory = memory.as<std::byte>(), .shape = {n}, .strides = {1}, .dtype = DType::Int64};
  fillWords<uint64_t, true>(call.in[0], bits, Bits{});
  sortRows(BitKeys{memory.as<uint64_t>()}, Numbers{out.memory, out.dtype}, 1, n, 64);
}

template <class T>
struct Kept {
  const T* x;
  uint32_t bound;
  double scale;
  __device__ T operator()(uint32_t word, uint32_t, int64_t i) const {
    using C = std::conditional_t<std::is_same_v<T, double>, double, float>;
    return cpu::convertTo<T>(word >= bound ? cpu::convertTo<C>(x[i]) * C(scale) : C(0));
  }
};

void dropoutCuda(const Call<ops::DropoutMask>& call) {
  const View& out = call.out[0];
  const uint64_t dropped = philox::fraction(call.attrs.p);
  if (dropped >> 32) return fill(out, 0);
  const Prepared x(call.in[0], call.in[0].dtype);
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    fillWords<T, false>(call.in[1], out, Kept<T>{x.view().as<T>(), uint32_t(dropped), 1 / (1 - call.attrs.p)});
  });
}

const Implement<ops::RandomUniform> uniformOnCuda("randomUniform", DeviceType::Cuda, uniformCuda);
const Implement<ops::RandomNormal> normalOnCuda("randomNormal", DeviceType::Cuda, normalCuda);
const Implement<ops::TruncatedNormal> truncatedOnCuda("truncatedNormal", DeviceType::Cuda, truncatedCuda);
const Implement<ops::Bernoulli> bernoulliOnCuda("bernoulli", DeviceType::Cuda, bernoulliCuda);
const Implement<ops::RandomInt> integerOnCuda("randomInt", DeviceType::Cuda, integerCuda);
const Implement<ops::Permutation> permutationOnCuda("permutation", DeviceType::Cuda, permutationCuda);
const Implement<ops::DropoutMask> dropoutOnCuda("dropoutMask", DeviceType::Cuda, dropoutCuda);

}  // namespace
}  // namespace anneal::cuda
