#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/norm_columns_gradient.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/norm_columns-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

/// Where what comes back has come through a ReLU: (x - mean) * scale + shift went there, with `scale` [segments,
/// channels] and `shift` [channels]. Else both are empty.
template <class T>
struct Mask {
  std::vector<T> scale, shift;
};
/// What comes back. By bits: the compiler would make a jump of a choice, and no vectors of that.
template <bool Masked, class S, class T>
HWY_INLINE T through(T grad, T fromMean, T scale, T shift) {
  if constexpr (!Masked) return grad;
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  const bool passes = convertTo<T>(convertTo<S>(fromMean * scale + shift)) > T(0);
  return std::bit_cast<T>(std::bit_cast<Bits>(grad) & (Bits(0) - Bits(passes)));
}

/// Sums of grad and of grad * (x - mean) over the rows of each segment: [segments, channels].
template <bool Masked, class S, class T>
void gradientSums(const NormColumns& n, const S* grad, const S* x, const std::vector<T>& mean, const Mask<T>& mask,
                  std::vector<T>& plain, std::vector<T>& product) {
  const Parts parts(n);
  const int64_t channels = n.channels;
  std::vector<T> sums(size_t(parts.count() * channels)), products(sums.size());
  parts.each([&](int64_t part, int64_t segment, int64_t from, int64_t to) {
    const T* HWY_RESTRICT m = &mean[size_t(segment * channels)];
    T *HWY_RESTRICT s = &sums[size_t(part * channels)], *HWY_RESTRICT p = &products[size_t(part * channels)];
    const T *HWY_RESTRICT scale = Masked ? &mask.scale[size_t(segment * channels)] : m,
                          *HWY_RESTRICT shift = Masked ? mask.shift.data() : m;
    for (int64_t r = from; r < to; ++r) {
      const S *HWY_RESTRICT g = grad + r * channels, *HWY_RESTRICT in = x + r * channels;
      for (int64_t c = 0; c < channels; ++c) {
        const T fromMean = convertTo<T>(in[c]) - m[c],
                value = through<Masked, S>(convertTo<T>(g[c]), fromMean, scale[c], shift[c]);
        s[c] += value;
        p[c] += value * fromMean;
      }
    }
  });
  for (int64_t segment = 0; segment < n.segments; ++segment) {
    const auto at = size_t(segment * parts.perSegment * channels), to = size_t(segment * channels);
    sumParts(sums.data() + at, parts.perSegment, channels, plain.data() + to);
    sumParts(products.data() + at, parts.perSegment, channels, product.data() + to);
  }
}

template <bool Masked, class S, class T>
void gradientThrough(const NormColumns& n, const Spread<T>& spread, const std::vector<T>& w, const Mask<T>& mask,
                     const View& grad, const View& x, const View& dx, const View& dw, const View& db) {
  const int64_t channels = n.channels, all = n.segments * channels;
  std::vector<T> sums(static_cast<size_t>(all)), products(static_cast<size_t>(all)), a(static_cast<size_t>(all)),
      b(static_cast<size_t>(all)), d(static_cast<size_t>(all));
  gradientSums<Masked, S, T>(n, grad.as<S>(), x.as<S>(), spread.mean, mask, sums, products);
  std::fill_n(dw.as<T>(), channels, T(0));
  sumParts(sums.data(), n.segments, channels, db.as<T>());
  for (int64_t i = 0; i < all; ++i) dw.as<T>()[i % channels] += products[size_t(i)] * spread.scale[size_t(i)];
  // dx = scale * (w * grad - average of that - normalised x * average of (w * grad * normalised x)), averages over a
  // group.
  const T count = T(n.rows) * T(n.perGroup());
  for (int64_t first = 0; first < all; first += n.perGroup()) {
    T plain = 0, product = 0;
    for (int64_t i = first; i < first + n.perGroup(); ++i) {
      plain += w[size_t(i % channels)] * sums[size_t(i)];
      product += w[size_t(i % channels)] * products[size_t(i)];
    }
    for (int64_t i = first; i < first + n.perGroup(); ++i) {
      const T scale = spread.scale[size_t(i)];
      a[size_t(i)] = scale * w[size_t(i % channels)];
      b[size_t(i)] = -scale * scale * scale * product / count;
      d[size_t(i)] = -scale * plain / count;
    }
  }
  Parts(n).each([&](int64_t, int64_t segment, int64_t from, int64_t to) {
    const auto at = size_t(segment * channels);
    const T *HWY_RESTRICT pa = &a[at], *HWY_RESTRICT pb = &b[at], *HWY_RESTRICT pd = &d[at],
                          *HWY_RESTRICT m = &spread.mean[at];
    const T *HWY_RESTRICT scale = Masked ? &mask.scale[at] : m, *HWY_RESTRICT shift = Masked ? mask.shift.data() : m;
    for (int64_t r = from; r < to; ++r) {
      const S *HWY_RESTRICT g = grad.as<S>() + r * channels, *HWY_RESTRICT in = x.as<S>() + r * channels;
      S* HWY_RESTRICT out = dx.as<S>() + r * channels;
      for (int64_t c = 0; c < channels; ++c) {
        const T fromMean = convertTo<T>(in[c]) - m[c];
        out[c] = convertTo<S>(pa[c] * through<Masked, S>(convertTo<T>(g[c]), fromMean, scale[c], shift[c]) +
                              (pb[c] * fromMean + pd[c]));
      }
    }
  });
}

template <class S, class T>
void gradient(const NormColumns& n, const View& grad, const View& x, const View& weight, const View& mean,
              const View& variance, const View& dx, const View& dw, const View& db, const View* masked) {
  const Spread<T> spread(n, mean.as<T>(), variance.as<T>());
  const std::vector<T> w = parameter<T>(weight, n.channels, T(1));
  if (!masked) return gradientThrough<false, S, T>(n, spread, w, {}, grad, x, dx, dw, db);
  Mask<T> mask{spread.scale, parameter<T>(*masked, n.channels, T(0))};
  for (size_t i = 0; i < mask.scale.size(); ++i) mask.scale[i] *= w[i % size_t(n.channels)];
  gradientThrough<true, S, T>(n, spread, w, mask, grad, x, dx, dw, db);
}

void gradientAny(const NormColumns& n, const View& grad, const View& x, const View& weight, const View& mean,
                 const View& variance, const View& dx, const View& dw, const View& db, const View* masked) {
  visitFloats(x.dtype,
              [&]<class S, class T>(S, T) { gradient<S, T>(n, grad, x, weight, mean, variance, dx, dw, db, masked); });
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {

HWY_EXPORT(gradientAny);

void columnsGradient(const NormColumns& n, const View& grad, const View& x, const View& weight, const View& mean,
                     const View& variance, const View& dx, const View& dw, const View& db, const View* masked) {
  HWY_DYNAMIC_DISPATCH(gradientAny)(n, grad, x, weight, mean, variance, dx, dw, db, masked);
}

}  // namespace anneal::cpu
#endif
