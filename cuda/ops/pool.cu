// Pooling windows and their gradients.
#include <limits>

#include "spatial.cuh"

namespace anneal::cuda {
namespace {

using Window = WindowAxis<float>;
using WindowBack = WindowAxisBack<float>;

/// The numbers of the largest elements within their windows, as bytes or in 32 bits; or none.
struct Taps {
  void* memory;
  bool wide;

  explicit Taps(const View& v) : memory(v.defined ? v.memory : nullptr), wide(v.dtype == DType::Int32) {}
  /// Those of the V elements from `at` on, a multiple of V.
  template <int V>
  __device__ __forceinline__ void get(int64_t at, int (&taps)[V]) const {
    if (wide) {
#pragma unroll
      for (int k = 0; k < V; ++k) taps[k] = static_cast<const int32_t*>(memory)[at + k];
      return;
    }
    const auto bytes = *reinterpret_cast<const Pack<uint8_t, V>*>(static_cast<const uint8_t*>(memory) + at);
#pragma unroll
    for (int k = 0; k < V; ++k) taps[k] = int(bytes.v[k]);
  }
  template <int V>
  __device__ __forceinline__ void set(int64_t at, const int (&taps)[V]) const {
    if (wide) {
#pragma unroll
      for (int k = 0; k < V; ++k) static_cast<int32_t*>(memory)[at + k] = taps[k];
      return;
    }
    if (!memory) return;
    Pack<uint8_t, V> bytes;
#pragma unroll
    for (int k = 0; k < V; ++k) bytes.v[k] = uint8_t(taps[k]);
    *reinterpret_cast<Pack<uint8_t, V>*>(static_cast<uint8_t*>(memory) + at) = bytes;
  }
};

template <class C>
constexpr C lowest() {
  return std::numeric_limits<C>::has_infinity ? -std::numeric_limits<C>::infinity() : std::numeric_limits<C>::lowest();
}

/// What elements are compared as.
template <class T>
using Ordered = std::conditional_t<std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>, float, T>;

/// The first of equal elements; NaN counts as largest.
template <class T, int V>
__global__ void __launch_bounds__(kSpatialThreads)
    windowMax(Spatial<Window> s, const T* x, T* y, Taps taps, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  int at[3];
  const T* from = x + s.template place<V>(i, at);
  using C = Ordered<T>;
  C best[V];
  int numbers[V];
#pragma unroll
  for (int k = 0; k < V; ++k) best[k] = lowest<C>(), numbers[k] = -1;
  s.each(at, [&](int64_t position, int tap, float) {
    const auto values = *reinterpret_cast<const Pack<T, V>*>(from + position * s.channels);
#pragma unroll
    for (int k = 0; k < V; ++k) {
      const C value = cpu::convertTo<C>(values.v[k]);
      const bool take = value > best[k] || value != value;
      if (take) best[k] = value;
      if (take || numbers[k] < 0) numbers[k] = tap;
    }
  });
  Pack<T, V> out;
#pragma unroll
  for (int k = 0; k < V; ++k) {
    out.v[k] = cpu::convertTo<T>(best[k]);
    numbers[k] = std::max(numbers[k], 0);  // a window may lie in the padding as a whole
  }
  storePack(y + i * V, out);
  taps.set(i * V, numbers);
}

/// The elements that `taps` number.
template <class T>
__global__ void __launch_bounds__(kSpatialThreads) pick(Spatial<Window> s, const T* x, Taps taps, T* y, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  int at[3];
  const T* from = x + s.template place<1>(i, at);
  int number[1];
  taps.get(i, number);
  T result{};
  s.each(at, [&](int64_t position, int tap, float) {
    if (tap == number[0]) result = from[position * s.channels];
  });
  y[i] = result;
}

/// The sum of the gradients of the windows whose largest element a position is.
template <class T, class C, int V>
__global__ void __launch_bounds__(kSpatialThreads, 4)
    spread(Spatial<WindowBack> s, const T* grad, Taps taps, T* dx, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  int at[3];
  const int64_t first = s.template place<V>(i, at);
  C sums[V] = {};
  s.each(at, [&](int64_t position, int tap, float) {
    const int64_t from = first + position * s.channels;
    const auto values = *reinterpret_cast<const Pack<T, V>*>(grad + from);
    int numbers[V];
    taps.get(from, numbers);
#pragma unroll
    for (int k = 0; k < V; ++k)
      if (numbers[k] == tap) sums[k] += cpu::convertTo<C>(values.v[k]);
  });
  Pack<T, V> out;
#pragma unroll
  for (int k = 0; k < V; ++k) out.v[k] = cpu::convertTo<T>(sums[k]);
  storePack(dx + i * V, out);
}

const std::byte* memoryOf(const View& v) { return v.defined ? v.memory : nullptr; }

void tapsCuda(const Call<ops::Windows>& call) {
  const View &x = call.in[0], &y = call.out[0];
  if (y.size() == 0) return;
  const auto windows = spatialOf<Window>("maxPool", call.attrs, x, y, false);
  visitType(y.dtype, [&]<class T>(TypeTag<T>) {
    visitChannels<T>(y.shape.back(), {x.memory, y.memory, memoryOf(call.out[1])}, [&]<int V>(Run<V>) {
      launch(windowMax<T, V>, blocksFor(y.size() / V, kSpatialThreads), kSpatialThreads, 0, stream(), windows,
             x.as<T>(), y.as<T>(), Taps(call.out[1]), y.size() / V);
    });
  });
}

void pickCuda(const Call<ops::Windows>& call) {
  const View &x = call.in[0], &y = call.out[0];
  if (y.size() == 0) return;
  const auto windows = spatialOf<Window>("maxPoolPick", call.attrs, x, y, false);
  visitSpatial(y.dtype, [&]<class T, class C>(TypeTag<T>, TypeTag<C>) {
    launch(pick<T>, blocksFor(y.size(), kSpatialThreads), kSpatialThreads, 0, stream(), windows, x.as<T>(),
           Taps(call.in[1]), y.as<T>(), y.size());
  });
}

void spreadCuda(const Call<ops::Windows>& call) {
  const View &grad = call.in[0], &dx = call.out[0];
  if (dx.size() == 0) return;
  const auto windows = spatialOf<WindowBack>("maxPoolSpread", call.attrs, grad, dx, true);
  visitSpatial(dx.dtype, [&]<class T, class C>(TypeTag<T>, TypeTag<C>) {
    visitChannels<T>(dx.shape.back(), {grad.memory, dx.memory, memoryOf(call.in[1])}, [&]<int V>(Run<V>) {
      launch(spread<T, C, V>, blocksFor(dx.size() / V, kSpatialThreads), kSpatialThreads, 0, stream(), windows,
             grad.as<T>(), Taps(call.in[1]), dx.as<T>(), dx.size() / V);
    });
  });
}

const Implement<ops::Windows> tapsOnCuda("maxPoolTaps", DeviceType::Cuda, tapsCuda);
const Implement<ops::Windows> pickOnCuda("maxPoolPick", DeviceType::Cuda, pickCuda);
const Implement<ops::Windows> spreadOnCuda("maxPoolSpread", DeviceType::Cuda, spreadCuda);
const Implement<ops::Windows> averageOnCuda("averageWindows", DeviceType::Cuda, [](const Call<ops::Windows>& call) {
  sumInto<WindowAxis>("averagePool", call, false);
});
const Implement<ops::Windows> averageSpreadOnCuda("averageSpread", DeviceType::Cuda,
                                                  [](const Call<ops::Windows>& call) {
                                                    sumInto<WindowAxisBack>("averageSpread", call, true);
                                                  });

}  // namespace
}  // namespace anneal::cuda
