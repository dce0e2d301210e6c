// What normalisation of channels and its gradients share, compiled once for each instruction set (see Highway's
// foreach_target).
#if defined(ANNEAL_CPU_NORM_COLUMNS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_NORM_COLUMNS_INL_H_
#undef ANNEAL_CPU_NORM_COLUMNS_INL_H_
#else
#define ANNEAL_CPU_NORM_COLUMNS_INL_H_
#endif

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

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
