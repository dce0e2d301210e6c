#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/norm_columns.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/norm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

/// Rows in parts that do not depend on the number of threads, so that results do not either.
struct Parts {
  int64_t segments, rows, perSegment, step;
  explicit Parts(const NormColumns& n) : segments(n.segments), rows(n.rows) {
    const int64_t least = std::max<int64_t>(16, 16384 / std::max<int64_t>(1, n.channels));
    const int64_t wanted = std::max<int64_t>(1, 64 / std::max<int64_t>(1, segments));
    step = std::max(least, (rows + wanted - 1) / wanted);
    perSegment = (rows + step - 1) / step;
  }
  int64_t count() const { return segments * perSegment; }
  int64_t begin(int64_t part) const { return part % perSegment * step; }
  int64_t end(int64_t part) const { return std::min(begin(part) + step, rows); }

  /// Calls f(part, segment, first row, last row) in parallel; rows count over all segments.
  template <class F>
  void each(F&& f) const {
    parallelFor(count(), 1, [&](int64_t from, int64_t to) {
      for (int64_t p = from; p < to; ++p) {
        const int64_t segment = p / perSegment;
        f(p, segment, segment * rows + begin(p), segment * rows + end(p));
      }
    });
  }
};

/// A mean with the sum of squares about it, of `count` values; merged as by Chan, Golub and LeVeque (1983).
template <class T>
struct Moments {
  T count = 0, mean = 0, squares = 0;
  void merge(T n, T m, T s) {
    if (n == 0) return;
    const T total = count + n, delta = m - mean;
    mean += delta * (n / total);
    squares += s + delta * delta * (count * (n / total));
    count = total;
  }
};

/// Means and sums of squares of each channel over rows [from, to), in blocks that stay in cache; the second pass over a
/// block corrects the rounding of its mean (Chan, Golub and LeVeque, 1983).
template <class S, class T>
void momentsOf(const S* x, int64_t channels, int64_t from, int64_t to, T* HWY_RESTRICT mean, T* HWY_RESTRICT squares) {
  const int64_t block = std::max<int64_t>(4, 4096 / channels);
  std::vector<T> sums(static_cast<size_t>(channels)), squareSums(sums.size()), rests(sums.size());
  T *HWY_RESTRICT m = sums.data(), *HWY_RESTRICT q = squareSums.data(), *HWY_RESTRICT rest = rests.data();
  std::fill_n(mean, channels, T(0));
  std::fill_n(squares, channels, T(0));
  for (int64_t at = from; at < to; at += block) {
    const int64_t last = std::min(at + block, to);
    const T count = T(last - at), before = T(at - from), share = count / (before + count);
    std::fill_n(m, channels, T(0));
    std::fill_n(q, channels, T(0));
    std::fill_n(rest, channels, T(0));
    for (int64_t r = at; r < last; ++r)
      for (int64_t c = 0; c < channels; ++c) m[c] += convertTo<T>(x[r * channels + c]);
    for (int64_t c = 0; c < channels; ++c) m[c] /= count;
    for (int64_t r = at; r < last; ++r)
      for (int64_t c = 0; c < channels; ++c) {
        const T d = convertTo<T>(x[r * channels + c]) - m[c];
        q[c] += d * d;
        rest[c] += d;
      }
    for (int64_t c = 0; c < channels; ++c) {
      const T shift = rest[c] / count, delta = m[c] + shift - mean[c];
      mean[c] += delta * share;
      squares[c] += q[c] - rest[c] * shift + delta * delta * (before * share);
    }
  }
}

/// Mean and variance of every segment and group.
template <class S, class T>
void statistics(const NormColumns& n, const S* x, T* mean, T* variance) {
  const Parts parts(n);
  std::vector<T> means(size_t(parts.count() * n.channels)), squares(means.size());
  parts.each([&](int64_t part, int64_t, int64_t from, int64_t to) {
    momentsOf(x, n.channels, from, to, &means[size_t(part * n.channels)], &squares[size_t(part * n.channels)]);
  });
  parallelFor(n.segments * n.groups, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Moments<T> all;
      const int64_t segment = i / n.groups, first = i % n.groups * n.perGroup();
      for (int64_t p = segment * parts.perSegment; p < (segment + 1) * parts.perSegment; ++p)
        for (int64_t c = first; c < first + n.perGroup(); ++c)
          all.merge(T(parts.end(p) - parts.begin(p)), means[size_t(p * n.channels + c)],
                    squares[size_t(p * n.channels + c)]);
      mean[i] = all.mean;
      variance[i] = all.squares / all.count;
    }
  });
}

/// Coefficients of every segment and channel: y = after((x - mean) * scale + shift, place).
template <class S, class T, class F>
void affine(const NormColumns& n, const S* x, const std::vector<T>& mean, const std::vector<T>& scale,
            const std::vector<T>& shift, S* y, F&& after) {
  const Parts parts(n);
  const int64_t channels = n.channels;
  parts.each([&](int64_t, int64_t segment, int64_t from, int64_t to) {
    const T *HWY_RESTRICT m = &mean[size_t(segment * channels)], *HWY_RESTRICT a = &scale[size_t(segment * channels)],
                          *HWY_RESTRICT b = shift.data();
    for (int64_t r = from; r < to; ++r) {
      const S* HWY_RESTRICT in = x + r * channels;
      S* HWY_RESTRICT out = y + r * channels;
      for (int64_t c = 0; c < channels; ++c)
        out[c] = after(convertTo<S>((convertTo<T>(in[c]) - m[c]) * a[c] + b[c]), r * channels + c);
    }
  });
}

/// The columns with what is done with them.
template <class S, class T>
void affineThen(const NormColumns& n, const S* x, const std::vector<T>& mean, const std::vector<T>& scale,
                const std::vector<T>& shift, S* y, const AfterColumns& then) {
  const S* HWY_RESTRICT residual = then.residual.defined ? then.residual.as<S>() : nullptr;
  const auto sum = [=](S v, int64_t at) { return convertTo<S>(convertTo<T>(v) + convertTo<T>(residual[at])); };
  const auto relu = [](S v) { return convertTo<T>(v) < T(0) ? convertTo<S>(T(0)) : v; };
  const auto make = [&](auto&& after) { affine<S, T>(n, x, mean, scale, shift, y, after); };
  if (residual && then.relu) make([=](S v, int64_t at) { return relu(sum(v, at)); });
  else if (residual) make(sum);
  else if (then.relu) make([=](S v, int64_t) { return relu(v); });
  else make([](S v, int64_t) { return v; });
}

/// Means and reciprocal deviations [segments, groups] spread over the channels.
template <class T>
struct Spread {
  std::vector<T> mean, scale;
  Spread(const NormColumns& n, const T* means, const T* variances)
      : mean(size_t(n.segments * n.channels)), scale(mean.size()) {
    for (int64_t i = 0; i < n.segments * n.channels; ++i) {
      const int64_t group = i / n.channels * n.groups + i % n.channels / n.perGroup();
      mean[size_t(i)] = means[group];
      scale[size_t(i)] = T(1) / std::sqrt(variances[group] + T(n.eps));
    }
  }
};

template <class S, class T>
void normalize(const NormColumns& n, const View& x, const View& weight, const View& bias, const View& y,
               const View& mean, const View& variance, const AfterColumns& then) {
  statistics<S, T>(n, x.as<S>(), mean.as<T>(), variance.as<T>());
  Spread<T> spread(n, mean.as<T>(), variance.as<T>());
  const std::vector<T> w = parameter<T>(weight, n.channels, T(1)), b = parameter<T>(bias, n.channels, T(0));
  for (int64_t i = 0; i < n.segments * n.channels; ++i) spread.scale[size_t(i)] *= w[size_t(i % n.channels)];
  affineThen<S, T>(n, x.as<S>(), spread.mean, spread.scale, b, y.as<S>(), then);
}

template <class S, class T>
void apply(const NormColumns& n, const View& x, const View& mean, const View& variance, const View& weight,
           const View& bias, const View& y) {
  const std::vector<T> m = parameter<T>(mean, n.channels, T(0)), w = parameter<T>(weight, n.channels, T(1)),
                       b = parameter<T>(bias, n.channels, T(0));
  std::vector<T> scale = parameter<T>(variance, n.channels, T(1));
  for (size_t c = 0; c < scale.size(); ++c) scale[c] = w[c] / std::sqrt(scale[c] + T(n.eps));
  affineThen<S, T>(n, x.as<S>(), m, scale, b, y.as<S>(), {.residual = {.defined = false}});
}

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

void normalizeAny(const NormColumns& n, const View& x, const View& weight, const View& bias, const View& y,
                  const View& mean, const View& variance, const AfterColumns& then) {
  visitFloats(x.dtype, [&]<class S, class T>(S, T) { normalize<S, T>(n, x, weight, bias, y, mean, variance, then); });
}
void applyAny(const NormColumns& n, const View& x, const View& mean, const View& variance, const View& weight,
              const View& bias, const View& y) {
  visitFloats(x.dtype, [&]<class S, class T>(S, T) { apply<S, T>(n, x, mean, variance, weight, bias, y); });
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

HWY_EXPORT(normalizeAny);
HWY_EXPORT(applyAny);
HWY_EXPORT(gradientAny);

void normalizeColumns(const NormColumns& n, const View& x, const View& weight, const View& bias, const View& y,
                      const View& mean, const View& variance, const AfterColumns& after) {
  HWY_DYNAMIC_DISPATCH(normalizeAny)(n, x, weight, bias, y, mean, variance, after);
}
void applyColumns(const NormColumns& n, const View& x, const View& mean, const View& variance, const View& weight,
                  const View& bias, const View& y) {
  if (x.size()) HWY_DYNAMIC_DISPATCH(applyAny)(n, x, mean, variance, weight, bias, y);
}
void columnsGradient(const NormColumns& n, const View& grad, const View& x, const View& weight, const View& mean,
                     const View& variance, const View& dx, const View& dw, const View& db, const View* masked) {
  HWY_DYNAMIC_DISPATCH(gradientAny)(n, grad, x, weight, mean, variance, dx, dw, db, masked);
}

}  // namespace anneal::cpu
#endif
