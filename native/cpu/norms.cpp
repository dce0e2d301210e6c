#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/norms.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <numeric>

#include "cpu/chunks.h"
#include "cpu/convert.h"
#include "cpu/norms.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

constexpr int64_t kPart = 4096, kChunk = 16384;

/// What values of a type are computed in.
template <class T>
using Computed = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T>
double squaresOf(const T* x, int64_t n) {
  using C = Computed<T>;
  constexpr int kLanes = 32;
  C sums[kLanes] = {};
  int64_t at = 0;
  for (; at + kLanes <= n; at += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const C value = convertTo<C>(x[at + lane]);
      sums[lane] += value * value;
    }
  double total = 0;
  for (C s : sums) total += double(s);
  for (; at < n; ++at) {
    const auto value = convertTo<double>(x[at]);
    total += value * value;
  }
  return total;
}

double squaredNorm(std::span<const View> tensors) {
  std::vector<double> parts;
  forEachChunk(
      tensors, kPart, [&](size_t count) { parts.resize(count); },
      [&](size_t i, const Chunk& c) {
        const View& v = tensors[c.tensor];
        visitType(v.dtype, [&]<class T>(TypeTag<T>) {
          if constexpr (!std::is_integral_v<T>) parts[i] = squaresOf(v.as<T>() + c.begin, c.n);
        });
      });
  return std::accumulate(parts.begin(), parts.end(), 0.0);
}

void scale(std::span<const View> tensors, double factor, std::span<const View> out) {
  forEachChunk(tensors, kChunk, [&](size_t, const Chunk& c) {
    visitType(tensors[c.tensor].dtype, [&]<class T>(TypeTag<T>) {
      if constexpr (!std::is_integral_v<T>) {
        const T* x = tensors[c.tensor].as<T>() + c.begin;
        T* y = out[c.tensor].as<T>() + c.begin;
        const auto by = Computed<T>(factor);
        for (int64_t i = 0; i < c.n; ++i) y[i] = convertTo<T>(by * convertTo<Computed<T>>(x[i]));
      }
    });
  });
}

void addScaled(const View& x, double factor, const View& y, const View& out) {
  forEachChunk({&x, 1}, kChunk, [&](size_t, const Chunk& c) {
    visitType(x.dtype, [&]<class T>(TypeTag<T>) {
      if constexpr (!std::is_integral_v<T>) {
        const T *a = x.as<T>() + c.begin, *b = y.as<T>() + c.begin;
        T* to = out.as<T>() + c.begin;
        using C = Computed<T>;
        const C by = C(factor);
        for (int64_t i = 0; i < c.n; ++i) to[i] = convertTo<T>(convertTo<C>(a[i]) + by * convertTo<C>(b[i]));
      }
    });
  });
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {

HWY_EXPORT(squaredNorm);
HWY_EXPORT(scale);
HWY_EXPORT(addScaled);

double squaredNorm(std::span<const View> tensors) { return HWY_DYNAMIC_DISPATCH(squaredNorm)(tensors); }
void scale(std::span<const View> tensors, double factor, std::span<const View> out) {
  HWY_DYNAMIC_DISPATCH(scale)(tensors, factor, out);
}
void addScaled(const View& x, double factor, const View& y, const View& out) {
  HWY_DYNAMIC_DISPATCH(addScaled)(x, factor, y, out);
}

}  // namespace anneal::cpu
#endif
