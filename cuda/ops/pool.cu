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
  __device__ int get(int64_t at) const {
    return wide ? static_cast<const int32_t*>(memory)[at] : int(static_cast<const uint8_t*>(memory)[at]);
  }
  __device__ void set(int64_t at, int tap) const {
    if (wide) static_cast<int32_t*>(memory)[at] = tap;
    else if (memory) static_cast<uint8_t*>(memory)[at] = uint8_t(tap);
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
template <class T>
__global__ void __launch_bounds__(kSpatialThreads)
    windowMax(Spatial<Window> s, const T* x, T* y, Taps taps, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  int at[3];
  const T* from = x + s.place(i, at);
  using C = Ordered<T>;
  C best = lowest<C>();
  int number = -1;
  s.each(at, [&](int64_t position, int tap, float) {
    const C value = cpu::convertTo<C>(from[position * s.channels]);
    const bool take = value > best || value != value;
    if (take) best = value;
    if (take || number < 0) number = tap;
  });
  y[i] = cpu::convertTo<T>(best);
  taps.set(i, std::max(number, 0));  // a window may lie in the padding as a whole
}

/// The elements that `taps` number.
template <class T>
__global__ void __launch_bounds__(kSpatialThreads) pick(Spatial<Window> s, const T* x, Taps taps, T* y, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  int at[3];
  const T* from = x + s.place(i, at);
  const int number = taps.get(i);
  T result{};
  s.each(at, [&](int64_t position, int tap, float) {
    if (tap == number) result = from[position * s.channels];
  });
  y[i] = result;
}

/// The sum of the gradients of the windows whose largest element a position is.
template <class T, class C>
__global__ void __launch_bounds__(kSpatialThreads, 4)
    spread(Spatial<WindowBack> s, const T* grad, Taps taps, T* dx, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  int at[3];
  const int64_t first = s.place(i, at);
  C sum = 0;
  s.each(at, [&](int64_t position, int tap, float) {
    const int64_t from = first + position * s.channels;
    if (taps.get(from) == tap) sum += cpu::convertTo<C>(grad[from]);
  });
  dx[i] = cpu::convertTo<T>(sum);
}

void tapsCuda(const Call<ops::Windows>& call) {
  const View &x = call.in[0], &y = call.out[0];
  if (y.size() == 0) return;
  const auto windows = spatialOf<Window>("maxPool", call.attrs, x, y, false);
  visitType(y.dtype, [&]<class T>(TypeTag<T>) {
    launch(windowMax<T>, blocksFor(y.size(), kSpatialThreads), kSpatialThreads, 0, stream(), windows, x.as<T>(),
           y.as<T>(), Taps(call.out[1]), y.size());
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
    launch(spread<T, C>, blocksFor(dx.size(), kSpatialThreads), kSpatialThreads, 0, stream(), windows, grad.as<T>(),
           Taps(call.in[1]), dx.as<T>(), dx.size());
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
