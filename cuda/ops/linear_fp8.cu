// Linear layers of factors rounded to 8 bits: by cuBLASLt, or, where it does not take the sizes, as a product of
// float32.
#include "blas.h"
#include "copy.h"
#include "cpu/float8.h"
#include "device.h"
#include "index.h"
#include "op/define.h"
#include "ops/linear.h"
#include "ops/products.h"
#include "rows.cuh"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256, kLeastCapability = 89;

/// Calls f(first, count) for the packs of a contiguous tensor that a thread takes, the last of which may not be full.
template <class T, class F>
__device__ __forceinline__ void eachPack(int64_t size, F&& f) {
  const int64_t step = int64_t(gridDim.x) * kThreads * kPack<T>;
  for (int64_t i = threadNumber() * kPack<T>; i < size; i += step) f(i, int(std::min<int64_t>(kPack<T>, size - i)));
}

template <class T>
__device__ __forceinline__ Pack<T, kPack<T>> loadPack(const T* from, int count, bool inPacks) {
  if (inPacks && count == kPack<T>) return *reinterpret_cast<const Pack<T, kPack<T>>*>(from);
  Pack<T, kPack<T>> pack = {};
#pragma unroll
  for (int i = 0; i < kPack<T>; ++i)
    if (i < count) pack.v[i] = from[i];
  return pack;
}

/// The bits of the largest magnitude, where NaN is above infinity. A maximum does not depend on the order.
template <class T>
__global__ void __launch_bounds__(kThreads) findLargest(const T* x, int64_t size, bool inPacks, unsigned* largest) {
  unsigned most = 0;
  eachPack<T>(size, [&](int64_t first, int count) {
    const auto pack = loadPack(x + first, count, inPacks);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) {
      const unsigned bits = asBits(cpu::convertTo<float>(pack.v[i])) & 0x7fffffffu;
      most = bits > most ? bits : most;
    }
  });
  most = mergeWarp(most, [](unsigned a, unsigned b) { return a > b ? a : b; });
  if (threadIdx.x % kWarp == 0) atomicMax(largest, most);
}

/// Two floats as e4m3, the first in the lower byte.
__device__ __forceinline__ uint16_t toFloat8Pair(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  uint16_t pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return uint16_t(cpu::toFloat8(low) | cpu::toFloat8(high) << 8);
#endif
}

/// to = x times its factor, rounded, and what undoes the factor. `to` has room for whole packs.
template <class T>
__global__ void __launch_bounds__(kThreads)
    roundToFloat8(const T* x, int64_t size, bool inPacks, const unsigned* largest, uint16_t* to, float* scale) {
  const float factor = cpu::float8Factor(asFloat(*largest));
  if (threadNumber() == 0) *scale = 1 / factor;
  eachPack<T>(size, [&](int64_t first, int count) {
    const auto pack = loadPack(x + first, count, inPacks);
    Pack<uint16_t, kPack<T> / 2> out;
#pragma unroll
    for (int i = 0; i < kPack<T>; i += 2)
      out.v[i / 2] =
          toFloat8Pair(cpu::convertTo<float>(pack.v[i]) * factor, cpu::convertTo<float>(pack.v[i + 1]) * factor);
    *reinterpret_cast<Pack<uint16_t, kPack<T> / 2>*>(to + first / 2) = out;
  });
}

__global__ void __launch_bounds__(kThreads) widen(const uint8_t* from, float* to, int64_t size) {
  const int64_t i = threadNumber();
  if (i < size) to[i] = cpu::fromFloat8(from[i]);
}

/// to = product * scales + bias.
template <class T>
__global__ void __launch_bounds__(kThreads) finish(const float* product, const float* scaleA, const float* scaleB,
                                                   const T* bias, T* to, int64_t size, int64_t columns) {
  const int64_t i = threadNumber();
  if (i >= size) return;
  const float value = product[i] * (*scaleA * *scaleB);
  const int64_t column = i % columns;
  to[i] = cpu::convertTo<T>(bias ? value + cpu::convertTo<float>(bias[column]) : value);
}

/// A contiguous tensor of 16-bit floats or float32 in 8 bits.
class Float8 {
 public:
  explicit Float8(const View& x) : size_(x.size()), values_(size_t(size_) + 16), numbers_(2 * sizeof(float)) {
    auto* const largest = numbers_.as<unsigned>();
    check(cudaMemsetAsync(largest, 0, sizeof(unsigned), stream()), "clearing memory");
    const auto round = [&]<class T>(TypeTag<T>) {
      const unsigned most = unsigned(current().multiprocessors()) * 8;
      const unsigned blocks = std::min(most, std::max(1u, blocksFor(size_, kThreads * kPack<T>)));
      const bool inPacks = aligned(x.data());
      launch(findLargest<T>, blocks, kThreads, 0, stream(), x.as<T>(), size_, inPacks, largest);
      launch(roundToFloat8<T>, blocks, kThreads, 0, stream(), x.as<T>(), size_, inPacks, largest,
             values_.as<uint16_t>(), numbers_.as<float>() + 1);
    };
    if (x.dtype == DType::Float16) round(TypeTag<Half>{});
    else if (x.dtype == DType::BFloat16) round(TypeTag<BFloat16>{});
    else round(TypeTag<float>{});
  }
  const uint8_t* values() const { return values_.as<uint8_t>(); }
  const float* scale() const { return numbers_.as<float>() + 1; }
  int64_t size() const { return size_; }

 private:
  int64_t size_;
  Scratch values_, numbers_;
};

/// The product in float32, in which factors of 8 bits and their products are exact.
void multiplyWidened(const Float8& a, const Float8& b, const cpu::Gemm& g, const View& bias, const View& out) {
  const auto room = [](int64_t size) { return size_t(std::max<int64_t>(size, 1)) * sizeof(float); };
  const Scratch left(room(a.size())), right(room(b.size())), product(room(out.size()));
  for (const auto& [from, to] : {std::pair(&a, &left), std::pair(&b, &right)})
    if (from->size() > 0)
      launch(widen, blocksFor(from->size(), kThreads), kThreads, 0, stream(), from->values(), to->as<float>(),
             from->size());
  cpu::Gemm wide = g;
  wide.dtype = DType::Float32;
  wide.a.data = left.as<float>();
  wide.b.data = right.as<float>();
  wide.c = product.as<float>();
  multiply(wide);
  const auto finishAs = [&]<class T>(TypeTag<T>) {
    launch(finish<T>, blocksFor(out.size(), kThreads), kThreads, 0, stream(), product.as<float>(), a.scale(), b.scale(),
           bias.defined ? bias.as<const T>() : nullptr, out.as<T>(), out.size(), g.n);
  };
  if (out.dtype == DType::Float16) finishAs(TypeTag<Half>{});
  else if (out.dtype == DType::BFloat16) finishAs(TypeTag<BFloat16>{});
  else finishAs(TypeTag<float>{});
}

void requireFloat8() {
  const int capability = current().capability();
  require(capability >= kLeastCapability, Code::Device,
          "autocast: fp8 needs a GPU of compute capability 8.9 or later (Ada, Hopper, Blackwell); this one has ",
          capability / 10, '.', capability % 10, "; leave fp8 out");
}

void linearFp8Cuda(const Call<None>& call) {
  const View& out = call.out[0];
  if (out.size() == 0) return;
  requireFloat8();
  const Prepared x(call.in[0], out.dtype), weight(call.in[1], out.dtype);
  std::optional<Prepared> prepared;
  View bias{.defined = false};
  if (call.in.size() > 2 && call.in[2].defined) bias = prepared.emplace(call.in[2], out.dtype).view();
  const Float8 a(x.view()), b(weight.view());
  const cpu::Gemm g = ops::productOf(ops::Matrices::of(x.view()), ops::Matrices::of(weight.view()).transposed(), out);
  Product p{.dtype = out.dtype, .m = g.m, .n = g.n, .k = g.k, .a = a.values(), .b = b.values(), .c = out.data()};
  p.lda = p.ldb = g.k;
  p.ldc = g.n;
  p.transposeB = true;
  p.bias = bias.defined ? bias.data() : nullptr;
  p.scaleA = a.scale();
  p.scaleB = b.scale();
  // The library wants biases of 16 bits.
  const bool regular = g.k > 0 && !(bias.defined && out.dtype == DType::Float32);
  if (regular && multiplyByLibrary(p)) return;
  multiplyWidened(a, b, g, bias, out);
}

const Implement<None> linearFp8OnCuda("linearFp8", DeviceType::Cuda, linearFp8Cuda);

}  // namespace
}  // namespace anneal::cuda
