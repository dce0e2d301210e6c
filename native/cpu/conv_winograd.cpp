#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/conv_winograd.cpp"
#include <hwy/foreach_target.h>
//
#include <algorithm>
#include <cmath>

#include "cpu/conv_tiles-inl.h"
#include "cpu/conv_winograd-inl.h"
#include "cpu/schedule.h"
#include "cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace winograd {

constexpr int64_t kPrivate = 448 * 1024;             // bytes of the squares that one thread takes through all steps
constexpr int64_t kSharedWeights = 4 * 1024 * 1024;  // bytes of weights that every thread may read by itself

/// Weights after the direct ones: [points, panels, channels in, N], points an odd number of lines apart.
struct Weights {
  explicit Weights(const ConvShape& s)
      : panels(ceilDiv(s.outChannels, N)), depth(s.inChannels), point(oddLines(panels * depth * N)) {}
  int64_t at(int64_t p, int64_t panel, int64_t c) const { return p * point + (panel * depth + c) * N; }
  int64_t panels, depth, point;
};

/// Rows of channels: one for each square, for each of the points. Points lie an odd number of lines apart, so that a
/// square's rows spread over a cache.
template <int Points>
struct Rows {
  Rows(float* data, int64_t squares, int64_t channels) : data(data), pitch(channels), point(step(squares, channels)) {}
  static int64_t step(int64_t squares, int64_t channels) { return oddLines(squares * channels); }
  static size_t size(int64_t squares, int64_t channels) { return size_t(Points * step(squares, channels)); }
  float* data;
  int64_t pitch, point;
};

template <int Out>
class Convolution : Sides<Out> {
  using Sides<Out>::kOut, Sides<Out>::kIn, Sides<Out>::kPoints;
  using Rows = winograd::Rows<kPoints>;

 public:
  Convolution(const ConvShape& s, const float* x, const float* packed, const ConvEnd& end, float* y)
      : s_(s),
        squares_(s),
        x_(x),
        direct_(packed),
        weights_(packed + ConvTiles::packedSize(s)),
        end_(end),
        y_(y),
        zeros_(size_t(s.inChannels), 0.0f) {}

  /// Where the weights stay in the cache, each thread takes a few squares through all steps; else all threads take
  /// many.
  void run() const {
    const int64_t each = kPoints * (s_.inChannels + s_.outChannels) * int64_t(sizeof(float));
    const int64_t few = std::max<int64_t>(kPrivate / each / kRows, 1) * kRows;
    const bool alone = kPoints * s_.inChannels * s_.outChannels * int64_t(sizeof(float)) <= kSharedWeights &&
                       squares_.count >= 2 * few * threads();
    if (alone) {
      const Tapered parts(squares_.count, few, few % (2 * kRows) ? few : few / 2);
      return parallelTasks(parts.count(), [&](int64_t i) { someSquares(parts.begin(i), parts.size(i)); });
    }
    const int64_t step = ceilDiv(squares_.count, ceilDiv(squares_.count, std::max<int64_t>(kTogether / each, 1)));
    for (int64_t i = 0; i < squares_.count; i += step) someSquares(i, std::min(step, squares_.count - i));
  }

 private:
  void someSquares(int64_t first, int64_t count) const {
    const Rows in(workspace<float>(Purpose::PackedA, Rows::size(count, s_.inChannels)), count, s_.inChannels);
    const Rows out(workspace<float>(Purpose::Result, Rows::size(count, s_.outChannels)), count, s_.outChannels);
    parallelFor(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) readSquare(first + i, in, i);
    });
    multiply(in, out, count);
    parallelFor(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) writeSquare(first + i, out, i);
    });
  }

  void readSquare(int64_t square, const Rows& in, int64_t row) const {
    const float* at[kPoints];
    squares_.pixels(square, x_, zeros_.data(), at);
    float* to = in.data + row * in.pitch;
    for (int64_t c = 0; c < s_.inChannels; c += L) transformPixels<kIn, kIn>(transformIn, at, c, to + c, in.point);
  }

  /// For each point a product of [squares, channels in] and [channels in, channels out].
  void multiply(const Rows& in, const Rows& out, int64_t count) const {
    const Weights at(s_);
    const int64_t panels = at.panels, depth = at.depth;
    const int64_t splits = std::clamp<int64_t>(ceilDiv(8 * threads(), kPoints), 1, panels);
    parallelTasks(kPoints * splits, [&](int64_t task) {
      const int64_t point = task / splits, part = task % splits;
      for (int64_t j = panels * part / splits; j < panels * (part + 1) / splits; ++j)
        for (int64_t p = 0; p < depth; p += kDepth) {
          const float *rows = in.data + point * in.point + p, *panel = weights_ + at.at(point, j, p);
          const int64_t columns = std::min<int64_t>(N, s_.outChannels - j * N), length = std::min(kDepth, depth - p);
          const Result<float> to{out.data + point * out.point + j * N, out.pitch, 1, p ? 1.0f : 0.0f};
          rowsByPanel<float>(count, length, rows, in.pitch, 1, panel, N, columns, to,
                             fetchPanel(panel + length * N, count));
        }
    });
  }

  void writeSquare(int64_t square, const Rows& out, int64_t row) const {
    HWY_ALIGN float sums[kOut * kOut * kChannels];
    for (int64_t c = 0; c < s_.outChannels; c += kChannels) {
      const int64_t channels = std::min<int64_t>(kChannels, s_.outChannels - c);
      if (!sumsOf(out, row, c, channels, sums)) sumDirectly(square, c, channels, sums);
      put(square, c, channels, sums);
    }
  }

  /// The results of a square without what comes after; whether all are finite.
  bool sumsOf(const Rows& out, int64_t row, int64_t channel, int64_t channels, float* sums) const {
    const Float d;
    const float* from = out.data + row * out.pitch + channel;
    Vec finite = hn::Zero(d);
    for (int64_t c = 0; c < channels; c += L) {
      transformSquare<kIn, kOut>(
          transformOut, [&](int i) { return hn::LoadU(d, from + i * out.point + c); },
          [&](int i, Vec sum) {
            finite = hn::MulAdd(sum, hn::Zero(d), finite);
            hn::Store(sum, d, sums + i * kChannels + c);
          });
    }
    return hn::AllTrue(d, hn::Eq(finite, hn::Zero(d)));
  }

  void sumDirectly(int64_t square, int64_t channel, int64_t channels, float* sums) const {
    const float* at[kPoints];
    squares_.pixels(square, x_, zeros_.data(), at);
    const float* weights = direct_ + channel * s_.depth();
    for (int h = 0; h < kOut; ++h) {
      const float* rows[9 * kPixels] = {};
      for (int t = 0; t < 9; ++t)
        for (int w = 0; w < kOut; ++w) rows[t * kPixels + w] = at[(h + t / 3) * kIn + w + t % 3];
      convTile<kOut>(rows, 9, 0, s_.inChannels, weights, channels,
                     {sums + h * kOut * kChannels, kChannels, nullptr, nullptr, true, false});
    }
  }

  /// Bias, residual and ReLU, for the results that the image has.
  void put(int64_t square, int64_t channel, int64_t channels, const float* sums) const {
    const Float d;
    const int64_t left = square % squares_.across * kOut, top = square / squares_.across % squares_.down * kOut;
    const int64_t image = square / (squares_.across * squares_.down);
    for (int64_t h = 0; h < std::min<int64_t>(kOut, s_.out[1] - top); ++h)
      for (int64_t w = 0; w < std::min<int64_t>(kOut, s_.out[2] - left); ++w) {
        const int64_t at = ((image * s_.out[1] + top + h) * s_.out[2] + left + w) * s_.outChannels + channel;
        for (int64_t c = 0; c < channels; c += L) {
          Vec value = hn::Load(d, sums + (h * kOut + w) * kChannels + c);
          if (end_.bias) value = hn::Add(value, hn::LoadU(d, end_.bias + channel + c));
          if (end_.residual) value = hn::Add(value, hn::LoadU(d, end_.residual + at + c));
          if (end_.relu) value = hn::IfThenZeroElse(hn::Lt(value, hn::Zero(d)), value);
          hn::StoreU(value, d, y_ + at + c);
        }
      }
  }

  const ConvShape& s_;
  const Squares<Out> squares_;
  const float *x_, *direct_, *weights_;
  ConvEnd end_;
  float* y_;
  std::vector<float> zeros_;
};

template <int Out>
void packWeights(const ConvShape& s, const float* direct, float* to) {
  const Weights weights(s);
  const int64_t in = s.inChannels;
  parallelFor(weights.panels, 1 + 1024 / in, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      const float* from = direct + j * N / kChannels * kChannels * s.depth() + j * N % kChannels;
      for (int64_t c = 0; c < in; ++c)
        for (int64_t o = 0; o < N; o += L)
          transformSquare<kTaps, Sides<Out>::kIn>(
              transformWeight, [&](int i) { return hn::LoadU(Float(), from + (i * in + c) * kChannels + o); },
              [&](int i, Vec weight) { hn::StoreU(weight, Float(), to + weights.at(i, j, c) + o); });
    }
  });
}

}  // namespace winograd

int64_t winogradSize(const ConvShape& s, int results) {
  return ConvTiles::packedSize(s) + (results + 2) * (results + 2) * winograd::Weights(s).point;
}

void winogradPack(const ConvShape& s, int results, const Filter& weight, float* packed) {
  static_assert(kChannels % winograd::N == 0);
  ConvTiles::pack(s, weight, packed);
  float* to = packed + ConvTiles::packedSize(s);
  if (results == 4) winograd::packWeights<4>(s, packed, to);
  else winograd::packWeights<2>(s, packed, to);
}

void winogradRun(const ConvShape& s, int results, const float* x, const float* packed, const ConvEnd& end, float* y) {
  if (results == 4) winograd::Convolution<4>(s, x, packed, end, y).run();
  else winograd::Convolution<2>(s, x, packed, end, y).run();
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
namespace {

/// Whether it is a convolution that the method is for.
bool can(const ConvShape& s) {
  const Dims ones{1, 1, 1};
  return s.groups == 1 && s.kernel == Dims{1, 3, 3} && s.stride == ones && s.dilation == ones && s.before[0] == 0 &&
         s.after[0] == 0 && s.inChannels % 16 == 0 && s.outChannels % 16 == 0;
}

/// What F(out x out, 3 x 3) takes, or with 1 a direct convolution, in multiplications per pair of channels: the
/// products, the transforms (per channel), and reading the weights.
double costOf(const ConvShape& s, int out) {
  const double squares = double(s.batch * s.in[0]) * double(ceilDiv(s.out[1], out) * ceilDiv(s.out[2], out));
  const double points = out == 1 ? 9 : (out + 2) * (out + 2), reading = 12;
  const double transforms = out == 1 ? 0 : 7 * points * (1 / double(s.inChannels) + 1 / double(s.outChannels));
  return squares * (points + transforms) + points * reading;
}

}  // namespace

HWY_EXPORT(winogradSize);
HWY_EXPORT(winogradPack);
HWY_EXPORT(winogradRun);

int ConvWinograd::results(const ConvShape& s) {
  int best = 1;
  for (int out : {2, 4})
    if (can(s) && costOf(s, out) < costOf(s, best)) best = out;
  return best;
}
bool ConvWinograd::takesWeights(const ConvShape& s) { return can(s) && costOf(s, 4) < costOf(s, 1); }
int64_t ConvWinograd::packedSize(const ConvShape& s) { return HWY_DYNAMIC_DISPATCH(winogradSize)(s, results(s)); }
void ConvWinograd::pack(const ConvShape& s, const Filter& weight, float* packed) {
  HWY_DYNAMIC_DISPATCH(winogradPack)(s, results(s), weight, packed);
}
void ConvWinograd::run(const ConvShape& s, const float* x, const float* packed, const ConvEnd& end, float* y) {
  HWY_DYNAMIC_DISPATCH(winogradRun)(s, results(s), x, packed, end, y);
}
}  // namespace anneal::cpu
#endif
