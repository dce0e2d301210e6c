#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/norm_rows.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/norm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kParts = 64;    // of the rows in a gradient, whatever the number of threads
constexpr int64_t kBlock = 4096;  // elements of rows that something else is done to

/// The sum of f(vector at i) over n values, four vectors at a time; f gets a descriptor and an offset.
template <class T, class F>
HWY_INLINE T sumOf(int64_t n, F&& f) {
  const hn::ScalableTag<T> d;
  const auto lanes = int64_t(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = hn::Add(s0, f(d, i));
    s1 = hn::Add(s1, f(d, i + lanes));
    s2 = hn::Add(s2, f(d, i + 2 * lanes));
    s3 = hn::Add(s3, f(d, i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) s0 = hn::Add(s0, f(d, i));
  T sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < n; ++i) sum += hn::GetLane(f(hn::CappedTag<T, 1>(), i));
  return sum;
}

/// A row as the type that is computed in; `buffer` holds it where that is another.
template <class S, class T>
HWY_INLINE const T* rowOf(const S* row, std::vector<T>& buffer, int64_t n) {
  if constexpr (std::is_same_v<S, T>) {
    return row;
  } else {
    for (int64_t i = 0; i < n; ++i) buffer[size_t(i)] = convertTo<T>(row[i]);
    return buffer.data();
  }
}

template <class T>
struct Statistics {
  T mean = 0, scale = 0;
  Statistics(const NormRows& n, const T* x) {
    const T count = T(n.size);
    if (n.centered) mean = sumOf<T>(n.size, [&](auto d, int64_t i) { return hn::LoadU(d, x + i); }) / count;
    const T squares = sumOf<T>(n.size, [&](auto d, int64_t i) {
      const auto v = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean));
      return hn::Mul(v, v);
    });
    scale = T(1) / std::sqrt(squares / count + T(n.eps));
  }
};

/// Calls f(first, last) for blocks of rows [begin, end) that stay in cache.
template <class F>
void eachBlock(int64_t begin, int64_t end, int64_t size, F&& f) {
  const int64_t rows = 1 + kBlock / size;
  for (; begin < end; begin += rows) f(begin, std::min(begin + rows, end));
}

template <class S, class T>
void normalize(const NormRows& n, const View& x, const View& weight, const View& bias, const View& y,
               const BlockWork* before) {
  const std::vector<T> weights = parameter<T>(weight, n.size, T(1)), biases = parameter<T>(bias, n.size, T(0));
  const T *HWY_RESTRICT w = weights.data(), *HWY_RESTRICT b = biases.data();
  parallelFor(n.rows, 1 + 8192 / n.size, [&](int64_t begin, int64_t end) {
    std::vector<T> buffer(std::is_same_v<S, T> ? 0 : size_t(n.size));
    eachBlock(begin, end, n.size, [&](int64_t first, int64_t last) {
      if (before) before->apply(nullptr, first, last - first, 0, n.size);
      for (int64_t r = first; r < last; ++r) {
        const T* in = rowOf(x.as<S>() + r * n.size, buffer, n.size);
        const Statistics<T> s(n, in);
        S* out = y.as<S>() + r * n.size;
#pragma GCC ivdep
        for (int64_t i = 0; i < n.size; ++i) out[i] = convertTo<S>((in[i] - s.mean) * s.scale * w[i] + b[i]);
      }
    });
  });
}

/// Gradient of one row; adds to the gradients of weight and bias.
template <class S, class T>
void rowGradient(const NormRows& n, const T* HWY_RESTRICT grad, const T* HWY_RESTRICT x, const T* HWY_RESTRICT w,
                 S* HWY_RESTRICT dx, T* HWY_RESTRICT dw, T* HWY_RESTRICT db) {
  const Statistics<T> s(n, x);
  const T count = T(n.size);
  const T product = s.scale * sumOf<T>(n.size, [&](auto d, int64_t i) {
                      return hn::Mul(hn::Mul(hn::LoadU(d, grad + i), hn::LoadU(d, w + i)),
                                     hn::Sub(hn::LoadU(d, x + i), hn::Set(d, s.mean)));
                    });
  T plain = 0;
  if (n.centered)
    plain = sumOf<T>(n.size, [&](auto d, int64_t i) { return hn::Mul(hn::LoadU(d, grad + i), hn::LoadU(d, w + i)); });
  const T first = plain / count, second = product / count;
  for (int64_t i = 0; i < n.size; ++i) {
    const T value = (x[i] - s.mean) * s.scale, g = grad[i];
    dx[i] = convertTo<S>(s.scale * (g * w[i] - first - value * second));
    dw[i] += g * value;
    db[i] += g;
  }
}

template <class S, class T>
void gradient(const NormRows& n, const View& grad, const View& x, const View& weight, const View& dx, const View& dw,
              const View& db, const BlockWork* then) {
  const std::vector<T> w = parameter<T>(weight, n.size, T(1));
  const int64_t step = std::max((n.rows + kParts - 1) / kParts, 1 + 4096 / n.size), parts = (n.rows + step - 1) / step;
  std::vector<T> weights(size_t(parts * n.size)), biases(weights.size());
  parallelFor(parts, 1, [&](int64_t begin, int64_t end) {
    const size_t room = std::is_same_v<S, T> ? 0 : size_t(n.size);
    std::vector<T> gradBuffer(room), xBuffer(room);
    for (int64_t p = begin; p < end; ++p)
      eachBlock(p * step, std::min((p + 1) * step, n.rows), n.size, [&](int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r)
          rowGradient<S, T>(n, rowOf(grad.as<S>() + r * n.size, gradBuffer, n.size),
                            rowOf(x.as<S>() + r * n.size, xBuffer, n.size), w.data(), dx.as<S>() + r * n.size,
                            &weights[size_t(p * n.size)], &biases[size_t(p * n.size)]);
        if (then) then->apply(dx.as<S>() + first * n.size, first, last - first, 0, n.size);
      });
  });
  sumParts(weights.data(), parts, n.size, dw.as<T>());
  sumParts(biases.data(), parts, n.size, db.as<T>());
}

void normalizeAny(const NormRows& n, const View& x, const View& weight, const View& bias, const View& y,
                  const BlockWork* before) {
  visitFloats(x.dtype, [&]<class S, class T>(S, T) { normalize<S, T>(n, x, weight, bias, y, before); });
}
void gradientAny(const NormRows& n, const View& grad, const View& x, const View& weight, const View& dx, const View& dw,
                 const View& db, const BlockWork* then) {
  visitFloats(x.dtype, [&]<class S, class T>(S, T) { gradient<S, T>(n, grad, x, weight, dx, dw, db, then); });
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {

HWY_EXPORT(normalizeAny);
HWY_EXPORT(gradientAny);

void normalizeRows(const NormRows& n, const View& x, const View& weight, const View& bias, const View& y,
                   const BlockWork* before) {
  if (n.size) HWY_DYNAMIC_DISPATCH(normalizeAny)(n, x, weight, bias, y, before);
}
void rowsGradient(const NormRows& n, const View& grad, const View& x, const View& weight, const View& dx,
                  const View& dw, const View& db, const BlockWork* then) {
  if (n.size) HWY_DYNAMIC_DISPATCH(gradientAny)(n, grad, x, weight, dx, dw, db, then);
}

}  // namespace anneal::cpu
#endif
