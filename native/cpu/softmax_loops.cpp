#include "cpu/softmax_loops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/softmax_loops.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

struct Softmax {
  template <class T>
  static void row(const T* x, const T*, T* y, int64_t n) {
    const T top = rowMax(x, n);
    const T scale = T(1 / storeSum(y, n, [&](int64_t j) { return scalar::fast::exp(x[j] - top); }));
    for (int64_t j = 0; j < n; ++j) y[j] *= scale;
  }
  template <class T>
  static void columns(const T* x, const T*, T* y, int64_t n, int64_t stride, int64_t width) {
    T top[kSoftmaxWidth], sum[kSoftmaxWidth] = {};
    columnMax(x, n, stride, width, top);
    for (int64_t i = 0; i < n; ++i)
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) {
        const T e = scalar::fast::exp(x[i * stride + j] - top[j]);
        sum[j] += e;
        y[i * stride + j] = e;
      }
    for (int64_t j = 0; j < width; ++j) sum[j] = T(1) / sum[j];
    for (int64_t i = 0; i < n; ++i)
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) y[i * stride + j] *= sum[j];
  }
  template <class T>
  static void columnMax(const T* x, int64_t n, int64_t stride, int64_t width, T* top) {
    std::fill(top, top + width, reducers::lowest<T>());
    for (int64_t i = 0; i < n; ++i)
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) top[j] = reducers::Highest::merge(top[j], x[i * stride + j]);
  }
};

struct LogSoftmax {
  template <class T>
  static void row(const T* x, const T*, T* y, int64_t n) {
    const T top = rowMax(x, n),
            rest = T(std::log(storeSum(y, n, [&](int64_t j) { return scalar::fast::exp(x[j] - top); })));
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) y[j] = (x[j] - top) - rest;
  }
  template <class T>
  static void columns(const T* x, const T*, T* y, int64_t n, int64_t stride, int64_t width) {
    T top[kSoftmaxWidth], sum[kSoftmaxWidth] = {};
    Softmax::columnMax(x, n, stride, width, top);
    for (int64_t i = 0; i < n; ++i)
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) sum[j] += scalar::fast::exp(x[i * stride + j] - top[j]);
    for (int64_t j = 0; j < width; ++j) sum[j] = std::log(sum[j]);
    for (int64_t i = 0; i < n; ++i)
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) y[i * stride + j] = (x[i * stride + j] - top[j]) - sum[j];
  }
};

/// y * (g - sum(g * y))
struct SoftmaxGrad {
  template <class T>
  static void row(const T* y, const T* g, T* out, int64_t n) {
    const T sum = T(rowSum<T>(n, [&](int64_t j) { return g[j] * y[j]; }));
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) out[j] = y[j] * (g[j] - sum);
  }
  template <class T>
  static void columns(const T* y, const T* g, T* out, int64_t n, int64_t stride, int64_t width) {
    T sum[kSoftmaxWidth] = {};
    for (int64_t i = 0; i < n; ++i)
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) sum[j] += g[i * stride + j] * y[i * stride + j];
    for (int64_t i = 0; i < n; ++i)
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) out[i * stride + j] = y[i * stride + j] * (g[i * stride + j] - sum[j]);
  }
};

/// g - e^y * sum(g)
struct LogSoftmaxGrad {
  template <class T>
  static void row(const T* y, const T* g, T* out, int64_t n) {
    const T sum = T(rowSum<T>(n, [&](int64_t j) { return g[j]; }));
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) out[j] = g[j] - scalar::fast::exp(y[j]) * sum;
  }
  template <class T>
  static void columns(const T* y, const T* g, T* out, int64_t n, int64_t stride, int64_t width) {
    T sum[kSoftmaxWidth] = {};
    for (int64_t i = 0; i < n; ++i)
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) sum[j] += g[i * stride + j];
    for (int64_t i = 0; i < n; ++i)
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j)
        out[i * stride + j] = g[i * stride + j] - scalar::fast::exp(y[i * stride + j]) * sum[j];
  }
};

template <class K, class T>
void rowLoop(const void* a, const void* b, void* out, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i)
    K::row(static_cast<const T*>(a) + i * n, static_cast<const T*>(b) + i * n, static_cast<T*>(out) + i * n, n);
}
template <class K, class T>
void columnLoop(const void* a, const void* b, void* out, int64_t n, int64_t stride, int64_t width) {
  K::columns(static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(out), n, stride, width);
}

template <class K>
SoftmaxLoops loopsOf(bool single) {
  return single ? SoftmaxLoops{rowLoop<K, float>, columnLoop<K, float>}
                : SoftmaxLoops{rowLoop<K, double>, columnLoop<K, double>};
}

SoftmaxLoops softmaxAt(int kind, bool single) {
  switch (SoftmaxKind(kind)) {
    case SoftmaxKind::Softmax: return loopsOf<Softmax>(single);
    case SoftmaxKind::LogSoftmax: return loopsOf<LogSoftmax>(single);
    case SoftmaxKind::SoftmaxGrad: return loopsOf<SoftmaxGrad>(single);
    default: return loopsOf<LogSoftmaxGrad>(single);
  }
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(softmaxAt);
SoftmaxLoops softmaxLoops(SoftmaxKind kind, DType compute) {
  return HWY_DYNAMIC_DISPATCH(softmaxAt)(int(kind), compute == DType::Float32);
}
}  // namespace anneal::cpu
#endif
