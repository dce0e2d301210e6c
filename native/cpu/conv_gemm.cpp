#include <algorithm>
#include <type_traits>

#include "cpu/conv.h"
#include "cpu/gemm.h"
#include "cpu/parallel.h"
#include "cpu/workspace.h"

namespace anneal::cpu {
namespace {

constexpr int64_t kBudget = int64_t(1) << 21;  // elements of the matrix of patches held at a time

template <class T>
constexpr DType kDType = std::is_same_v<T, double> ? DType::Float64 : DType::Float32;

/// Patches of one group: a row per output pixel, [kernel, channels of the group].
template <class T>
struct Patches {
  const ConvShape& s;
  int64_t group = 0;
  const Taps taps{s};
  const int64_t channels = s.groupIn(), depth = s.depth();

  /// Whether x itself is the matrix.
  bool inPlace() const {
    return s.kernel.product() == 1 && s.in == s.out && std::all_of(s.stride.begin(), s.stride.end(), is<1>) &&
           std::all_of(s.before.begin(), s.before.end(), is<0>);
  }

  /// Rows of patches from output pixel `first` on.
  Factor gather(const T* x, int64_t first, int64_t count) const {
    x += group * channels;
    if (inPlace()) return {x + first * s.inChannels, s.inChannels, 1};
    T* rows = workspace<T>(Purpose::Patches, size_t(count * depth));
    parallelFor(count, 1 + 65536 / depth, [&](int64_t begin, int64_t end) {
      std::fill(rows + begin * depth, rows + end * depth, T(0));
      for (int64_t p = begin; p < end; ++p)
        taps.of(first + p, [&](int64_t pixel, int64_t tap) {
          std::copy_n(x + pixel * s.inChannels, channels, rows + p * depth + tap * channels);
        });
    });
    return {rows, depth, 1};
  }

  /// Adds rows of patches back to the pixels they came from: input rows in parallel, each gathering what is its own.
  void scatter(const T* rows, int64_t first, int64_t count, T* dx) const {
    const int64_t lines = s.batch * s.in[0] * s.in[1];
    parallelFor(lines, 1 + 16384 / (s.in[2] * channels * s.kernel.product()), [&](int64_t begin, int64_t end) {
      for (int64_t line = begin; line < end; ++line) scatterLine(rows, first, count, line, dx);
    });
  }

 private:
  template <int V>
  static bool is(int64_t v) {
    return v == V;
  }

  void scatterLine(const T* rows, int64_t first, int64_t count, int64_t line, T* dx) const {
    const int64_t ih = line % s.in[1], id = line / s.in[1] % s.in[0], n = line / (s.in[1] * s.in[0]);
    for (int64_t i = 0; i < s.kernel[0]; ++i) {
      const int64_t od = taps.source(0, id, i);
      for (int64_t j = 0; od >= 0 && j < s.kernel[1]; ++j) {
        const int64_t oh = taps.source(1, ih, j);
        const int64_t pixel = ((n * s.out[0] + od) * s.out[1] + oh) * s.out[2] - first;
        if (oh < 0 || pixel < 0 || pixel >= count) continue;  // chunks hold whole lines of output
        scatterTaps(rows + pixel * depth + (i * s.kernel[1] + j) * s.kernel[2] * channels,
                    dx + line * s.in[2] * s.inChannels + group * channels);
      }
    }
  }

  void scatterTaps(const T* rows, T* line) const {
    for (int64_t ow = 0; ow < s.out[2]; ++ow)
      for (int64_t k = 0; k < s.kernel[2]; ++k) {
        const int64_t iw = taps.place(2, ow, k);
        if (iw < 0 || iw >= s.in[2]) continue;
        T* to = line + iw * s.inChannels;
        const T* from = rows + ow * depth + k * channels;
        for (int64_t c = 0; c < channels; ++c) to[c] += from[c];
      }
  }
};

/// Calls f(patches, first output pixel, count) for each group and chunk of whole output lines.
template <class T, class F>
void chunks(const ConvShape& s, F&& f) {
  const int64_t pixels = s.batch * s.out.product();
  for (int64_t g = 0; g < s.groups; ++g) {
    const Patches<T> patches{s, g};
    const int64_t lines = std::max<int64_t>(1, kBudget / (s.out[2] * patches.depth));
    const int64_t step = patches.inPlace() ? pixels : lines * s.out[2];
    for (int64_t p = 0; p < pixels; p += step) f(patches, p, std::min(step, pixels - p));
  }
}

}  // namespace

template <class T>
void ConvGemm<T>::forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y) {
  const int64_t n = s.groupOut(), depth = s.depth();
  chunks<T>(s, [&](const Patches<T>& patches, int64_t first, int64_t count) {
    const int64_t channel = patches.group * n;
    gemm({.dtype = kDType<T>,
          .m = count,
          .n = n,
          .k = depth,
          .a = patches.gather(x, first, count),
          .b = {weight + channel * depth, 1, depth},
          .c = y + first * s.outChannels + channel,
          .ldc = s.outChannels,
          .bias = bias ? bias + channel : nullptr});
  });
}

template <class T>
void ConvGemm<T>::data(const ConvShape& s, const T* grad, const T* weight, T* dx) {
  const int64_t k = s.groupOut(), depth = s.depth(), size = s.batch * s.in.product() * s.inChannels;
  parallelFor(size, 65536, [&](int64_t begin, int64_t end) { std::fill(dx + begin, dx + end, T(0)); });
  chunks<T>(s, [&](const Patches<T>& patches, int64_t first, int64_t count) {
    const int64_t channel = patches.group * k;
    const bool inPlace = patches.inPlace();
    T* rows = inPlace ? dx + patches.group * depth : workspace<T>(Purpose::Patches, size_t(count * depth));
    gemm({.dtype = kDType<T>,
          .m = count,
          .n = depth,
          .k = k,
          .a = {grad + first * s.outChannels + channel, s.outChannels, 1},
          .b = {weight + channel * depth, depth, 1},
          .c = rows,
          .ldc = inPlace ? s.inChannels : depth});
    if (!inPlace) patches.scatter(rows, first, count, dx);
  });
}

template <class T>
void ConvGemm<T>::weights(const ConvShape& s, const T* x, const T* grad, T* dw) {
  const int64_t m = s.groupOut(), depth = s.depth();
  chunks<T>(s, [&](const Patches<T>& patches, int64_t first, int64_t count) {
    const int64_t channel = patches.group * m;
    gemm({.dtype = kDType<T>,
          .m = m,
          .n = depth,
          .k = count,
          .a = {grad + first * s.outChannels + channel, 1, s.outChannels},
          .b = patches.gather(x, first, count),
          .c = dw + channel * depth,
          .ldc = depth,
          .beta = first ? 1.0 : 0.0});
  });
}

template struct ConvGemm<float>;
template struct ConvGemm<double>;

}  // namespace anneal::cpu
