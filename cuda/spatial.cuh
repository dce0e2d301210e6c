#pragma once
// Windows and interpolation: each position of the result reads, along every axis, a few positions of the input.
#include "box.cuh"
#include "device.h"
#include "ops/pool.h"
#include "ops/resize.h"
#include "rowwise.cuh"
#include "value.h"

namespace anneal::cuda {

constexpr int kSpatialThreads = 256;

/// What position `t` of a list reads: `at` along the axis (-1: nothing), the number of the place within its window,
/// and the weight in a sum.
template <class C>
struct Entry {
  int at, tap;
  C weight;
};

/// The list: numbers from `first` to `last`, of which only the axis knows more.
template <class C>
struct Reads {
  int first, last, origin;
  C weight;
};

/// Windows along one axis, as positions of the output see them.
template <class C>
struct WindowAxis {
  int in = 1, out = 1, kernel = 1, padding = 0;
  Divider stride{1}, dilation{1};
  bool adaptive = false, countIncludePad = true;

  WindowAxis() = default;
  WindowAxis(const ops::Windows& w, size_t i)
      : in(int(w.input[i])),
        out(int(w.output[i])),
        kernel(int(w.kernel[i])),
        padding(int(w.padding[i])),
        stride(uint32_t(w.stride[i])),
        dilation(uint32_t(w.dilation[i])),
        adaptive(w.adaptive),
        countIncludePad(w.countIncludePad) {}

  __device__ Reads<C> reads(int o) const {
    if (adaptive) {
      const int start = int(int64_t(o) * in / out), end = int((int64_t(o + 1) * in + out - 1) / out);
      return {0, end - start, start, C(1) / C(end - start)};
    }
    const int start = origin(o), end = start + kernel * int(dilation.divisor);
    const int padded = std::min(end, in + padding) - start, covered = std::min(end, in) - std::max(start, 0);
    return {stepsTo(dilation, -start), std::min(kernel, stepsTo(dilation, in - start)), start,
            C(1) / C(countIncludePad ? padded : covered)};
  }
  __device__ Entry<C> entry(const Reads<C>& r, int t) const {
    return {r.origin + t * (adaptive ? 1 : int(dilation.divisor)), t, r.weight};
  }

 protected:
  __device__ int origin(int o) const { return o * int(stride.divisor) - padding; }
  /// The least number of steps that lead from 0 to `to` or beyond.
  static __device__ int stepsTo(const Divider& step, int to) {
    return to > 0 ? int(step.quotient(uint32_t(to) + step.divisor - 1)) : 0;
  }
};

/// The same windows, as positions of the input see them.
template <class C>
struct WindowAxisBack : WindowAxis<C> {
  using Base = WindowAxis<C>;
  using Base::adaptive;
  using Base::Base;
  using Base::dilation;
  using Base::in;
  using Base::kernel;
  using Base::out;
  using Base::padding;
  using Base::stride;

  __device__ Reads<C> reads(int i) const {
    if (adaptive) return {int(int64_t(i) * out / in), int((int64_t(i + 1) * out + in - 1) / in), i, 0};
    const int before = i + padding - (kernel - 1) * int(dilation.divisor);
    return {Base::stepsTo(stride, before), std::min(out, int(stride.quotient(uint32_t(i + padding))) + 1), i, 0};
  }
  __device__ Entry<C> entry(const Reads<C>& r, int o) const {
    const Reads<C> window = Base::reads(o);
    const int distance = r.origin - window.origin;
    if (adaptive) return {o, distance, window.weight};
    const auto tap = int(dilation.quotient(uint32_t(distance)));
    return {tap * int(dilation.divisor) == distance ? o : -1, tap, window.weight};
  }
};

/// Interpolation along one axis, as positions of the output see it. C is what positions are computed in: double for
/// double data, else float, as PyTorch does.
template <class C>
struct ResampleAxis {
  int in = 1, out = 1;
  bool nearest = true, alignCorners = false;
  C step = 1;
  float nearestStep = 1;

  ResampleAxis() = default;
  ResampleAxis(const ops::Resample& r, size_t i)
      : in(int(r.input[i])),
        out(int(r.output[i])),
        nearest(r.nearest),
        alignCorners(r.alignCorners),
        step(stepOf<C>(r, i)),
        nearestStep(stepOf<float>(r, i)) {}

  template <class T>
  static T stepOf(const ops::Resample& r, size_t i) {
    const int64_t in = r.input[i], out = r.output[i];
    if (r.alignCorners) return out > 1 ? T(in - 1) / T(out - 1) : T(0);
    return r.scale.empty() ? T(in) / T(out) : T(1 / r.scale[i]);
  }
  __device__ C place(int o) const {
    if (out == in) return C(o);
    return alignCorners ? step * C(o) : std::max(C(0), step * (C(o) + C(0.5)) - C(0.5));
  }
  /// The lower of the positions that `o` reads; never falls as `o` grows.
  __device__ int low(int o) const {
    if (!nearest) return std::min(int(place(o)), in - 1);
    if (out == in) return o;
    return out == 2 * in ? o / 2 : std::min(int(floorf(float(o) * nearestStep)), in - 1);
  }
  __device__ C share(int o, int from) const {
    return nearest ? C(0) : std::min(std::max(place(o) - C(from), C(0)), C(1));
  }

  __device__ Reads<C> reads(int o) const {
    const int from = low(o);
    return {0, nearest ? 1 : 2, from, share(o, from)};
  }
  __device__ Entry<C> entry(const Reads<C>& r, int t) const {
    return {t == 0 ? r.origin : std::min(r.origin + 1, in - 1), t, t == 0 ? C(1) - r.weight : r.weight};
  }
};

/// The same, as positions of the input see it.
template <class C>
struct ResampleAxisBack : ResampleAxis<C> {
  using Base = ResampleAxis<C>;
  using Base::Base;
  using Base::in;
  using Base::out;

  /// The first output position whose lower position is `least` or more.
  __device__ int firstFrom(int least) const {
    int begin = 0, end = out;
    while (begin < end) {
      const int middle = begin + (end - begin) / 2;
      if (Base::low(middle) < least) begin = middle + 1;
      else end = middle;
    }
    return begin;
  }
  __device__ Reads<C> reads(int i) const { return {firstFrom(Base::nearest ? i : i - 1), firstFrom(i + 1), i, 0}; }
  __device__ Entry<C> entry(const Reads<C>& r, int o) const {
    const Reads<C> from = Base::reads(o);
    C weight = from.origin == r.origin ? C(1) - from.weight : C(0);
    if (!Base::nearest && std::min(from.origin + 1, in - 1) == r.origin) weight += from.weight;
    return {o, 0, weight};
  }
};

/// The three axes of a result of `to` positions that reads one of `from`.
template <class Axis>
struct Spatial {
  Axis axes[3];
  Box from, to;
  int taps[3] = {1, 1, 1};  // of a window along each axis
  int channels;

  /// Calls f(number of the position in its image, tap, weight) for all that position `at` reads, in a fixed order.
  template <class F>
  __device__ void each(const int (&at)[3], F&& f) const {
    const auto a = axes[0].reads(at[0]), b = axes[1].reads(at[1]), c = axes[2].reads(at[2]);
    for (int i = a.first; i < a.last; ++i) {
      const auto d = axes[0].entry(a, i);
      for (int j = b.first; d.at >= 0 && j < b.last; ++j) {
        const auto h = axes[1].entry(b, j);
        for (int k = c.first; h.at >= 0 && k < c.last; ++k) {
          const auto w = axes[2].entry(c, k);
          if (w.at >= 0)
            f(from.number(d.at, h.at, w.at), (d.tap * taps[1] + h.tap) * taps[2] + w.tap,
              d.weight * h.weight * w.weight);
        }
      }
    }
  }

  /// The place of the result's run `i` of V channels; gives the offset of the first in the image that it reads.
  template <int V>
  __device__ int64_t place(int64_t i, int (&at)[3]) const {
    const int runs = channels / V;
    const int64_t position = i / runs;
    const uint32_t n = to.all.quotient(uint32_t(position));
    to.place(uint32_t(position) - n * to.all.divisor, at);
    return int64_t(n) * from.count * channels + (i - position * runs) * V;
  }
};

/// `Attrs` say the sizes `input` and `output`, of which a gradient (`back`) reads the second.
template <class Axis, class Attrs>
Spatial<Axis> spatialOf(const char* op, const Attrs& attrs, const View& x, const View& y, bool back) {
  checkPositions(op, std::max(x.size(), y.size()) / std::max<int64_t>(1, x.shape.back()));
  Spatial<Axis> s{.from = Box(Dims(back ? attrs.output : attrs.input)),
                  .to = Box(Dims(back ? attrs.input : attrs.output)),
                  .channels = int(x.shape.back())};
  const size_t rank = attrs.input.size();
  for (size_t i = 0; i < rank; ++i) {
    s.axes[3 - rank + i] = Axis(attrs, i);
    if constexpr (requires { attrs.kernel; }) s.taps[3 - rank + i] = int(attrs.kernel[i]);
  }
  return s;
}

/// The channels that a thread takes together where that goes: they share the work of finding positions.
template <class T>
inline constexpr int kChannels = std::is_floating_point_v<T> || sizeof(T) == 2 ? kPack<T> : 1;

/// Calls f(Run<V>) with kChannels<T>, or with 1 where a result of `channels` or the memory is not made for it.
template <class T, class F>
void visitChannels(int64_t channels, std::initializer_list<const void*> memory, F&& f) {
  if (channels % kChannels<T> == 0 && std::all_of(memory.begin(), memory.end(), aligned)) f(Run<kChannels<T>>{});
  else if constexpr (kChannels<T> > 1) f(Run<1>{});
}

template <class T, class C, int V, class Axis>
__global__ void __launch_bounds__(kSpatialThreads, 2) weightedSums(Spatial<Axis> s, const T* x, T* y, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  int at[3];
  const T* from = x + s.template place<V>(i, at);
  C sums[V] = {};
  s.each(at, [&](int64_t position, int, C weight) {
    const auto values = *reinterpret_cast<const Pack<T, V>*>(from + position * s.channels);
#pragma unroll
    for (int k = 0; k < V; ++k) sums[k] += cpu::convertTo<C>(values.v[k]) * weight;
  });
  Pack<T, V> out;
#pragma unroll
  for (int k = 0; k < V; ++k) out.v[k] = cpu::convertTo<T>(sums[k]);
  storePack(y + i * V, out);
}

/// Calls f with the type that is stored and the type to compute in.
template <class F>
void visitSpatial(DType dtype, F&& f) {
  switch (dtype) {
    case DType::Float32: return f(TypeTag<float>{}, TypeTag<float>{});
    case DType::Float64: return f(TypeTag<double>{}, TypeTag<double>{});
    case DType::Float16: return f(TypeTag<Half>{}, TypeTag<float>{});
    default: return f(TypeTag<BFloat16>{}, TypeTag<float>{});
  }
}

/// y = what each position reads of x, weighted and summed.
template <template <class> class Axis, class Attrs>
void sumInto(const char* op, const Call<Attrs>& call, bool back) {
  const View &x = call.in[0], &y = call.out[0];
  if (y.size() == 0) return;
  visitSpatial(y.dtype, [&]<class T, class C>(TypeTag<T>, TypeTag<C>) {
    visitChannels<T>(y.shape.back(), {x.memory, y.memory}, [&]<int V>(Run<V>) {
      launch(weightedSums<T, C, V, Axis<C>>, blocksFor(y.size() / V, kSpatialThreads), kSpatialThreads, 0, stream(),
             spatialOf<Axis<C>>(op, call.attrs, x, y, back), x.as<T>(), y.as<T>(), y.size() / V);
    });
  });
}

}  // namespace anneal::cuda
