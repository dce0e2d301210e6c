#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/norm_columns.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/norm_columns-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

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

void normalizeAny(const NormColumns& n, const View& x, const View& weight, const View& bias, const View& y,
                  const View& mean, const View& variance, const AfterColumns& then) {
  visitFloats(x.dtype, [&]<class S, class T>(S, T) { normalize<S, T>(n, x, weight, bias, y, mean, variance, then); });
}
void applyAny(const NormColumns& n, const View& x, const View& mean, const View& variance, const View& weight,
              const View& bias, const View& y) {
  visitFloats(x.dtype, [&]<class S, class T>(S, T) { apply<S, T>(n, x, mean, variance, weight, bias, y); });
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {

HWY_EXPORT(normalizeAny);
HWY_EXPORT(applyAny);

void normalizeColumns(const NormColumns& n, const View& x, const View& weight, const View& bias, const View& y,
                      const View& mean, const View& variance, const AfterColumns& after) {
  HWY_DYNAMIC_DISPATCH(normalizeAny)(n, x, weight, bias, y, mean, variance, after);
}
void applyColumns(const NormColumns& n, const View& x, const View& mean, const View& variance, const View& weight,
                  const View& bias, const View& y) {
  if (x.size()) HWY_DYNAMIC_DISPATCH(applyAny)(n, x, mean, variance, weight, bias, y);
}

}  // namespace anneal::cpu
#endif
