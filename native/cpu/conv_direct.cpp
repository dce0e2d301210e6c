#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/conv_direct.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <vector>

#include "cpu/conv.h"
#include "cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

constexpr int64_t kGrain = 32768;  // multiplications per thread
constexpr int64_t kChannels = 32;  // per thread of a depthwise gradient

template <class T>
T dot(const T* a, const T* b, int64_t n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

template <class T>
void addScaled(T* HWY_RESTRICT to, T factor, const T* HWY_RESTRICT from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += factor * from[i];
}

template <class T>
void addProduct(T* HWY_RESTRICT to, const T* HWY_RESTRICT a, const T* HWY_RESTRICT b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += a[i] * b[i];
}

/// The weight of a depthwise convolution, channels last: [taps, channels].
template <class T>
std::vector<T> channelsLast(const ConvShape& s, const T* weight) {
  const int64_t taps = s.kernel.product(), channels = s.outChannels;
  std::vector<T> out(size_t(taps * channels));
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t t = 0; t < taps; ++t) out[size_t(t * channels + c)] = weight[c * taps + t];
  return out;
}

template <class T>
void start(T* y, const T* bias, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = bias ? bias[i] : T(0);
}

template <class T>
void depthwiseForward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y) {
  const std::vector<T> w = channelsLast(s, weight);
  const Taps taps(s);
  const int64_t channels = s.outChannels;
  parallelFor(s.batch * s.out.product(), 1 + kGrain / s.outChannels, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      start(y + p * channels, bias, channels);
      taps.of(p, [&](int64_t pixel, int64_t tap) {
        addProduct(y + p * channels, x + pixel * channels, w.data() + tap * channels, channels);
      });
    }
  });
}

template <class T>
void depthwiseData(const ConvShape& s, const T* grad, const T* weight, T* dx) {
  const std::vector<T> w = channelsLast(s, weight);
  const Taps taps(s);
  const int64_t channels = s.outChannels, blocks = (channels + kChannels - 1) / kChannels, out = s.out.product();
  parallelFor(s.batch * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / blocks, from = i % blocks * kChannels, count = std::min(kChannels, channels - from);
      for (int64_t p = n * s.in.product(); p < (n + 1) * s.in.product(); ++p)
        std::fill_n(dx + p * channels + from, count, T(0));
      for (int64_t p = n * out; p < (n + 1) * out; ++p)
        taps.of(p, [&](int64_t pixel, int64_t tap) {
          addProduct(dx + pixel * channels + from, grad + p * channels + from, w.data() + tap * channels + from, count);
        });
    }
  });
}

template <class T>
void depthwiseWeights(const ConvShape& s, const T* x, const T* grad, T* dw) {
  const Taps taps(s);
  const int64_t channels = s.outChannels, size = s.kernel.product(), pixels = s.batch * s.out.product();
  parallelFor((channels + kChannels - 1) / kChannels, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> sums(size_t(size * kChannels));
    for (int64_t from = begin * kChannels; from < std::min(end * kChannels, channels); from += kChannels) {
      const int64_t count = std::min(kChannels, channels - from);
      std::fill(sums.begin(), sums.end(), T(0));
      for (int64_t p = 0; p < pixels; ++p)
        taps.of(p, [&](int64_t pixel, int64_t tap) {
          addProduct(sums.data() + tap * kChannels, grad + p * channels + from, x + pixel * channels + from, count);
        });
      for (int64_t c = 0; c < count; ++c)
        for (int64_t t = 0; t < size; ++t) dw[(from + c) * size + t] = sums[size_t(t * kChannels + c)];
    }
  });
}

template <class T>
void forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y) {
  if (s.depthwise()) return depthwiseForward(s, x, weight, bias, y);
  const Taps taps(s);
  const int64_t in = s.groupIn(), depth = s.depth(), perGroup = s.groupOut();
  for (int64_t p = 0; p < s.batch * s.out.product(); ++p) {
    T* to = y + p * s.outChannels;
    start(to, bias, s.outChannels);
    taps.of(p, [&](int64_t pixel, int64_t tap) {
      for (int64_t o = 0; o < s.outChannels; ++o)
        to[o] += dot(x + pixel * s.inChannels + o / perGroup * in, weight + o * depth + tap * in, in);
    });
  }
}

template <class T>
void data(const ConvShape& s, const T* grad, const T* weight, T* dx) {
  if (s.depthwise()) return depthwiseData(s, grad, weight, dx);
  const Taps taps(s);
  const int64_t in = s.groupIn(), depth = s.depth(), perGroup = s.groupOut();
  std::fill_n(dx, s.batch * s.in.product() * s.inChannels, T(0));
  for (int64_t p = 0; p < s.batch * s.out.product(); ++p)
    taps.of(p, [&](int64_t pixel, int64_t tap) {
      for (int64_t o = 0; o < s.outChannels; ++o)
        addScaled(dx + pixel * s.inChannels + o / perGroup * in, grad[p * s.outChannels + o],
                  weight + o * depth + tap * in, in);
    });
}

template <class T>
void weights(const ConvShape& s, const T* x, const T* grad, T* dw) {
  if (s.depthwise()) return depthwiseWeights(s, x, grad, dw);
  const Taps taps(s);
  const int64_t in = s.groupIn(), depth = s.depth(), perGroup = s.groupOut();
  std::fill_n(dw, s.outChannels * depth, T(0));
  for (int64_t p = 0; p < s.batch * s.out.product(); ++p)
    taps.of(p, [&](int64_t pixel, int64_t tap) {
      for (int64_t o = 0; o < s.outChannels; ++o)
        addScaled(dw + o * depth + tap * in, grad[p * s.outChannels + o], x + pixel * s.inChannels + o / perGroup * in,
                  in);
    });
}

// Highway exports functions, not templates.
void forward32(const ConvShape& s, const float* x, const float* w, const float* b, float* y) { forward(s, x, w, b, y); }
void forward64(const ConvShape& s, const double* x, const double* w, const double* b, double* y) {
  forward(s, x, w, b, y);
}
void data32(const ConvShape& s, const float* g, const float* w, float* dx) { data(s, g, w, dx); }
void data64(const ConvShape& s, const double* g, const double* w, double* dx) { data(s, g, w, dx); }
void weights32(const ConvShape& s, const float* x, const float* g, float* dw) { weights(s, x, g, dw); }
void weights64(const ConvShape& s, const double* x, const double* g, double* dw) { weights(s, x, g, dw); }

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {

HWY_EXPORT(forward32);
HWY_EXPORT(forward64);
HWY_EXPORT(data32);
HWY_EXPORT(data64);
HWY_EXPORT(weights32);
HWY_EXPORT(weights64);

template <class T>
void ConvDirect<T>::forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y) {
  if constexpr (sizeof(T) == 4) HWY_DYNAMIC_DISPATCH(forward32)(s, x, weight, bias, y);
  else HWY_DYNAMIC_DISPATCH(forward64)(s, x, weight, bias, y);
}
template <class T>
void ConvDirect<T>::data(const ConvShape& s, const T* grad, const T* weight, T* dx) {
  if constexpr (sizeof(T) == 4) HWY_DYNAMIC_DISPATCH(data32)(s, grad, weight, dx);
  else HWY_DYNAMIC_DISPATCH(data64)(s, grad, weight, dx);
}
template <class T>
void ConvDirect<T>::weights(const ConvShape& s, const T* x, const T* grad, T* dw) {
  if constexpr (sizeof(T) == 4) HWY_DYNAMIC_DISPATCH(weights32)(s, x, grad, dw);
  else HWY_DYNAMIC_DISPATCH(weights64)(s, x, grad, dw);
}
template struct ConvDirect<float>;
template struct ConvDirect<double>;

}  // namespace anneal::cpu
#endif
