// Random numbers: the same words of the same counters as on the CPU (runtime/philox.h), so that a seed gives the same
// uniform numbers, integers, masks and permutations on every device, bit for bit; normal ones to within rounding.
#include "ops/random.h"

#include "copy.h"
#include "cpu/scalar.h"
#include "device.h"
#include "index.h"
#include "random.cuh"
#include "sort.cuh"
#include "value.h"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;

/// out[i] = make(word, further word); the further words are drawn if `Wide`.
template <class T, bool Wide, class Make>
__global__ void __launch_bounds__(kThreads) eachWord(Key key, Make make, T* out, int64_t n) {
  constexpr int N = kEach<T>;
  const int64_t first = threadNumber() * N;
  if (first >= n) return;
  Words<N> words, more;
  words.draw(key.sequence(), first, 0);
  if constexpr (Wide) more.draw(key.sequence(), first, 1);
  T made[N];
#pragma unroll
  for (int i = 0; i < N; ++i) made[i] = make(words[i], more[i]);
  storeNeighbours(out + first, n - first, made);
}

/// Starts `kernel` with threads that make the elements of `out`, kEach<T> each.
template <class T, class... P>
void launchEach(void (*kernel)(P...), const View& out, const std::type_identity_t<P>&... arguments) {
  if (out.size() > 0)
    launch(kernel, blocksFor(out.size(), int64_t(kThreads) * kEach<T>), kThreads, 0, stream(), arguments...);
}

template <class T, bool Wide, class Make>
void fillWords(const View& key, const View& out, const Make& make) {
  launchEach<T>(eachWord<T, Wide, Make>, out, Key(key), make, out.as<T>(), out.size());
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
  Computed<T> low, high;
  __device__ T operator()(uint32_t word, uint32_t more) const {
    if constexpr (std::is_same_v<T, double>) {
      const double x = __dadd_rn(low, __dmul_rn(philox::uniform(word, more), high - low));
      return x < high ? x : low;
    } else {
      const T x = cpu::convertTo<T>(__fadd_rn(low, __fmul_rn(philox::uniform(word, kDigits<T>), high - low)));
      return cpu::convertTo<float>(x) < high ? x : cpu::convertTo<T>(low);
    }
  }
};

void uniformCuda(const Call<ops::RandomUniform>& call) {
  visitFloat(call.out[0].dtype, [&]<class T, bool W>(TypeTag<T>, std::bool_constant<W>) {
    fillWords<T, W>(call.in[0], call.out[0], Uniform<T>{Computed<T>(call.attrs.low), Computed<T>(call.attrs.high)});
  });
}

/// Pairs of uniform numbers make pairs of normal ones.
template <class T, bool Wide>
__global__ void __launch_bounds__(kThreads) normals(Key key, Computed<T> mean, Computed<T> std, T* out, int64_t n) {
  constexpr int N = kEach<T>;
  const int64_t first = threadNumber() * N;
  if (first >= n) return;
  Words<N> words, more;
  words.draw(key.sequence(), first, 0);
  if constexpr (Wide) more.draw(key.sequence(), first, 1);
  const auto uniform = [&](int i) {
    if constexpr (Wide) return philox::uniform(words[i], more[i]);
    else return philox::uniform(words[i], 24);
  };
  T made[N];
#pragma unroll
  for (int i = 0; i < N; i += 2) {
    Computed<T> pair[2];
    philox::normals(uniform(i), uniform(i + 1), pair[0], pair[1]);
#pragma unroll
    for (int k = 0; k < 2; ++k) made[i + k] = cpu::convertTo<T>(mean + std * pair[k]);
  }
  storeNeighbours(out + first, n - first, made);
}

void normalCuda(const Call<ops::RandomNormal>& call) {
  const View& out = call.out[0];
  visitFloat(out.dtype, [&]<class T, bool W>(TypeTag<T>, std::bool_constant<W>) {
    launchEach<T>(normals<T, W>, out, Key(call.in[0]), Computed<T>(call.attrs.mean), Computed<T>(call.attrs.std),
                  out.as<T>(), out.size());
  });
}

template <class T>
struct Truncated {
  double from, to, mean, std, low, high;  // from and to: probabilities
  __device__ T operator()(uint32_t word, uint32_t more) const {
    double p;
    if constexpr (std::is_same_v<T, double>) p = from + philox::uniform(word, more) * (to - from);
    else p = from + (double(word) + 0.5) * 0x1p-32 * (to - from);
    const double x = mean + std * philox::inverseNormal(p);
    return cpu::convertTo<T>(x < low ? low : (x > high ? high : x));
  }
};

void truncatedCuda(const Call<ops::TruncatedNormal>& call) {
  const ops::TruncatedNormal& a = call.attrs;
  const ops::NormalRange r = ops::rangeOf(a);
  visitFloat(call.out[0].dtype, [&]<class T, bool W>(TypeTag<T>, std::bool_constant<W>) {
    fillWords<T, W>(call.in[0], call.out[0], Truncated<T>{r.from, r.to, a.mean, r.std, a.low, a.high});
  });
}

template <class T>
struct Below {
  uint64_t bound;
  __device__ T operator()(uint32_t word, uint32_t) const { return cpu::convertTo<T>(int32_t(word < bound)); }
};

void bernoulliCuda(const Call<ops::Bernoulli>& call) {
  visitType(call.out[0].dtype, [&]<class T>(TypeTag<T>) {
    fillWords<T, false>(call.in[0], call.out[0], Below<T>{philox::fraction(call.attrs.p)});
  });
}

template <class T>
struct Integer {
  uint64_t low, range;
  __device__ T operator()(uint32_t word, uint32_t more) const {
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
  __device__ uint64_t operator()(uint32_t word, uint32_t more) const { return uint64_t(word) << 32 | more; }
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
__global__ void __launch_bounds__(kThreads) keepSome(Key key, const T* x, Keep<Computed<T>> keep, T* out, int64_t n) {
  constexpr int N = kEach<T>;
  const int64_t first = threadNumber() * N;
  if (first >= n) return;
  T values[N];
  loadNeighbours(x + first, n - first, values);
  Words<N> words;
  words.draw(key.sequence(), first, 0);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = keep(words[i], values[i]);
  storeNeighbours(out + first, n - first, values);
}

void dropoutCuda(const Call<ops::DropoutMask>& call) {
  const View& out = call.out[0];
  const uint64_t dropped = philox::fraction(call.attrs.p);
  if (dropped >> 32) return fill(out, 0);
  const Prepared x(call.in[0], call.in[0].dtype);
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    using C = Computed<T>;
    launchEach<T>(keepSome<T>, out, Key(call.in[1]), x.view().as<T>(),
                  Keep<C>(uint32_t(dropped), C(1 / (1 - call.attrs.p))), out.as<T>(), out.size());
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
