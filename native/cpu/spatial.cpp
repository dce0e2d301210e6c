#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/spatial.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <limits>

#include "cpu/convert.h"
#include "cpu/parallel.h"
#include "cpu/spatial.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kBlock = 64;  // channels that one thread takes where there are few positions

/// What one output position reads, over all axes.
struct Source {
  int64_t pixel, tap;
  double weight;
};

/// n values of storage type S as a vector of what is computed in.
template <class D, class S>
HWY_INLINE hn::Vec<D> load(D d, const S* from) {
  using T = hn::TFromD<D>;
  if constexpr (std::is_same_v<S, T>) {
    return hn::LoadU(d, from);
  } else {
    HWY_ALIGN T values[hn::MaxLanes(D())];
    for (size_t i = 0; i < hn::Lanes(d); ++i) values[i] = convertTo<T>(from[i]);
    return hn::Load(d, values);
  }
}

template <class D, class S>
HWY_INLINE void store(hn::Vec<D> v, D d, S* to) {
  using T = hn::TFromD<D>;
  if constexpr (std::is_same_v<S, T>) {
    hn::StoreU(v, d, to);
  } else {
    HWY_ALIGN T values[hn::MaxLanes(D())];
    hn::Store(v, d, values);
    for (size_t i = 0; i < hn::Lanes(d); ++i) to[i] = convertTo<S>(values[i]);
  }
}

/// Goes through the output positions in order, and tells what each reads.
class Walk {
 public:
  Walk(const SpatialMap& map, int64_t position) : map_(map) {
    const auto& [a, b, c] = map.axes;
    oc_ = position % c.outputs(), position /= c.outputs();
    ob_ = position % b.outputs(), position /= b.outputs();
    oa_ = position % a.outputs(), n_ = position / a.outputs();
    startRow();
  }

  const std::vector<Source>& sources() {
    const AxisMap& c = map_.axes[2];
    const size_t first = c.starts[size_t(oc_)], count = c.starts[size_t(oc_) + 1] - first;
    sources_.resize(rows_.size() * count);
    Source* to = sources_.data();
    for (const Source& row : rows_)
      for (size_t k = first; k < first + count; ++k, ++to) {
        const AxisMap::Entry& e = c.entries[k];
        *to = {row.pixel + e.at, row.tap + e.tap, row.weight * e.weight};
      }
    return sources_;
  }

  void advance() {
    if (++oc_ < map_.axes[2].outputs()) return;
    oc_ = 0;
    if (++ob_ == map_.axes[1].outputs()) {
      ob_ = 0;
      if (++oa_ == map_.axes[0].outputs()) oa_ = 0, ++n_;
    }
    startRow();
  }

 private:
  /// What all positions along the last axis share.
  void startRow() {
    rows_.clear();
    const auto& [a, b, c] = map_.axes;
    for (size_t i = a.starts[size_t(oa_)]; i < a.starts[size_t(oa_) + 1]; ++i)
      for (size_t j = b.starts[size_t(ob_)]; j < b.starts[size_t(ob_) + 1]; ++j) {
        const AxisMap::Entry &p = a.entries[i], &q = b.entries[j];
        rows_.push_back({((n_ * a.inputs + p.at) * b.inputs + q.at) * c.inputs, (p.tap * b.taps + q.tap) * c.taps,
                         p.weight * q.weight});
      }
  }

  const SpatialMap& map_;
  int64_t n_, oa_, ob_, oc_;
  std::vector<Source> rows_, sources_;
};

/// Calls f(output offset of channel 0, sources, first channel, last channel) at every output position.
template <class F>
void eachPosition(const SpatialMap& map, const View& y, F&& f) {
  const int64_t channels = y.shape.back(), positions = y.shape[0] * map.outputs();
  if (y.size() == 0) return;
  const int64_t blocks = positions < 64 ? (channels + kBlock - 1) / kBlock : 1, width = blocks == 1 ? channels : kBlock;
  double perAxis = 1;
  for (const AxisMap& axis : map.axes) perAxis *= double(axis.entries.size()) / double(axis.outputs());
  const auto grain = int64_t(1 + 16384 / (double(width) * (perAxis + 2)));
  parallelFor(positions * blocks, grain, [&](int64_t begin, int64_t end) {
    Walk walk(map, begin / blocks);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * width;
      f(i / blocks * channels, walk.sources(), first, std::min(channels, first + width));
      if ((i + 1) % blocks == 0 && i + 1 < end) walk.advance();
    }
  });
}

/// Calls f(tag, output offset, sources, channel) for vectors of channels, at every output position.
template <class T, class F>
void eachVector(const SpatialMap& map, const View& y, F&& f) {
  eachPosition(map, y, [&](int64_t at, const std::vector<Source>& sources, int64_t c, int64_t last) {
    const hn::ScalableTag<T> d;
    const auto lanes = int64_t(hn::Lanes(d));
    for (; c + lanes <= last; c += lanes) f(d, at + c, sources, c);
    for (; c < last; ++c) f(hn::CappedTag<T, 1>(), at + c, sources, c);
  });
}

/// Sums of `vectors` vectors of channels beside each other, so that the additions do not wait for one another.
template <int vectors, class D, class S>
HWY_INLINE void sumsAt(D d, const std::vector<Source>& sources, const S* x, int64_t channels, S* y) {
  using T = hn::TFromD<D>;
  const size_t lanes = hn::Lanes(d);
  hn::Vec<D> sum[vectors];
  for (auto& v : sum) v = hn::Zero(d);
  for (const Source& s : sources) {
    const auto weight = hn::Set(d, T(s.weight));
    const S* from = x + s.pixel * channels;
    for (size_t v = 0; v < vectors; ++v) sum[v] = hn::MulAdd(weight, load(d, from + v * lanes), sum[v]);
  }
  for (size_t v = 0; v < vectors; ++v) store(sum[v], d, y + v * lanes);
}

template <class S, class T>
void sums(const SpatialMap& map, const View& x, const View& y) {
  const int64_t channels = y.shape.back();
  eachPosition(map, y, [&](int64_t at, const std::vector<Source>& sources, int64_t c, int64_t last) {
    const hn::ScalableTag<T> d;
    const auto lanes = int64_t(hn::Lanes(d));
    const S* from = x.as<S>();
    S* to = y.as<S>() + at;
    for (; c + 4 * lanes <= last; c += 4 * lanes) sumsAt<4>(d, sources, from + c, channels, to + c);
    for (; c + lanes <= last; c += lanes) sumsAt<1>(d, sources, from + c, channels, to + c);
    for (; c < last; ++c) sumsAt<1>(hn::CappedTag<T, 1>(), sources, from + c, channels, to + c);
  });
}

template <class T>
constexpr T lowest() {
  return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
}

template <class S, class T, class I>
void maxima(const SpatialMap& map, const View& x, const View& y, const View& taps) {
  const int64_t channels = y.shape.back();
  eachVector<T>(map, y, [&](auto d, int64_t at, const std::vector<Source>& sources, int64_t c) {
    const hn::RebindToSigned<decltype(d)> di;
    using Index = hn::TFromD<decltype(di)>;
    auto best = hn::Set(d, lowest<T>());
    auto index = hn::Set(di, Index(sources.empty() ? 0 : sources[0].tap));
    for (const Source& s : sources) {
      const auto value = load(d, x.as<S>() + s.pixel * channels + c);
      auto take = hn::Gt(value, best);
      if constexpr (hwy::IsFloat<T>()) take = hn::Or(take, hn::IsNaN(value));
      best = hn::IfThenElse(take, value, best);
      if constexpr (!std::is_void_v<I>)
        index = hn::IfThenElse(hn::RebindMask(di, take), hn::Set(di, Index(s.tap)), index);
    }
    store(best, d, y.as<S>() + at);
    if constexpr (!std::is_void_v<I>) store(index, di, taps.as<I>() + at);
  });
}

template <class S, class T, class I>
void picked(const SpatialMap& map, const View& x, const View& taps, const View& y) {
  const int64_t channels = y.shape.back();
  eachVector<T>(map, y, [&](auto d, int64_t at, const std::vector<Source>& sources, int64_t c) {
    const hn::RebindToSigned<decltype(d)> di;
    auto result = hn::Zero(d);
    const auto index = load(di, taps.as<I>() + at);
    for (const Source& s : sources) {
      const auto here = hn::RebindMask(d, hn::Eq(index, hn::Set(di, hn::TFromD<decltype(di)>(s.tap))));
      result = hn::IfThenElse(here, load(d, x.as<S>() + s.pixel * channels + c), result);
    }
    store(result, d, y.as<S>() + at);
  });
}

template <class S, class T, class I>
void spread(const SpatialMap& map, const View& grad, const View& taps, const View& dx) {
  const int64_t channels = dx.shape.back();
  eachVector<T>(map, dx, [&](auto d, int64_t at, const std::vector<Source>& sources, int64_t c) {
    const hn::RebindToSigned<decltype(d)> di;
    auto sum = hn::Zero(d);
    for (const Source& s : sources) {
      const int64_t from = s.pixel * channels + c;
      const auto here =
          hn::RebindMask(d, hn::Eq(load(di, taps.as<I>() + from), hn::Set(di, hn::TFromD<decltype(di)>(s.tap))));
      sum = hn::Add(sum, hn::IfThenElseZero(here, load(d, grad.as<S>() + from)));
    }
    store(sum, d, dx.as<S>() + at);
  });
}

/// Calls f with the storage type and the type to compute in, of floats only.
template <class F>
void visitFloats(DType dtype, F&& f) {
  switch (dtype) {
    case DType::Float32: return f(float{}, float{});
    case DType::Float64: return f(double{}, double{});
    case DType::Float16: return f(Half{}, float{});
    case DType::BFloat16: return f(BFloat16{}, float{});
    default: fail(Code::Internal, "no kernel for ", dtype);
  }
}

template <class F>
void visitTaps(DType taps, F&& f) {
  if (taps == DType::UInt8) f(uint8_t{});
  else f(int32_t{});
}

void sumsAny(const SpatialMap& map, const View& x, const View& y) {
  visitFloats(y.dtype, [&]<class S, class T>(S, T) { sums<S, T>(map, x, y); });
}

void maximaAny(const SpatialMap& map, const View& x, const View& y, const View& taps) {
  visitType(y.dtype, [&]<class S>(TypeTag<S>) {
    visitCompute(y.dtype, [&]<class T>(TypeTag<T>) {
      if (!taps.defined) return maxima<S, T, void>(map, x, y, taps);
      visitTaps(taps.dtype, [&]<class I>(I) { maxima<S, T, I>(map, x, y, taps); });
    });
  });
}

void pickedAny(const SpatialMap& map, const View& x, const View& taps, const View& y) {
  visitFloats(y.dtype, [&]<class S, class T>(S, T) {
    visitTaps(taps.dtype, [&]<class I>(I) { picked<S, T, I>(map, x, taps, y); });
  });
}

void spreadAny(const SpatialMap& map, const View& grad, const View& taps, const View& dx) {
  visitFloats(dx.dtype, [&]<class S, class T>(S, T) {
    visitTaps(taps.dtype, [&]<class I>(I) { spread<S, T, I>(map, grad, taps, dx); });
  });
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {

HWY_EXPORT(sumsAny);
HWY_EXPORT(maximaAny);
HWY_EXPORT(pickedAny);
HWY_EXPORT(spreadAny);

AxisMap AxisMap::transposed() const {
  AxisMap t{.inputs = outputs(), .taps = taps};
  std::vector<std::vector<Entry>> lists(static_cast<size_t>(inputs));
  for (size_t o = 0; o + 1 < starts.size(); ++o)
    for (size_t i = starts[o]; i < starts[o + 1]; ++i)
      lists[size_t(entries[i].at)].push_back({int64_t(o), entries[i].tap, entries[i].weight});
  for (const auto& list : lists) {
    t.entries.insert(t.entries.end(), list.begin(), list.end());
    t.close();
  }
  return t;
}

SpatialMap::SpatialMap(std::vector<AxisMap> maps) {
  const AxisMap one{.inputs = 1, .taps = 1, .starts = {0, 1}, .entries = {{0, 0, 1}}};
  while (maps.size() < 3) maps.insert(maps.begin(), one);
  std::move(maps.begin(), maps.end(), axes.begin());
}

SpatialMap SpatialMap::transposed() const {
  return SpatialMap({axes[0].transposed(), axes[1].transposed(), axes[2].transposed()});
}

void weightedSums(const SpatialMap& map, const View& x, const View& y) { HWY_DYNAMIC_DISPATCH(sumsAny)(map, x, y); }
void windowMax(const SpatialMap& map, const View& x, const View& y, const View& taps) {
  HWY_DYNAMIC_DISPATCH(maximaAny)(map, x, y, taps);
}
void pickTaps(const SpatialMap& map, const View& x, const View& taps, const View& y) {
  HWY_DYNAMIC_DISPATCH(pickedAny)(map, x, taps, y);
}
void spreadTaps(const SpatialMap& map, const View& grad, const View& taps, const View& dx) {
  HWY_DYNAMIC_DISPATCH(spreadAny)(map, grad, taps, dx);
}

}  // namespace anneal::cpu
#endif
