// Linear layers and convolutions by products with int8 weights: activations are quantised into working memory first.
#include <algorithm>
#include <array>
#include <cmath>

#include "cpu/convert.h"
#include "cpu/int8.h"
#include "cpu/parallel.h"
#include "cpu/scalar.h"
#include "cpu/workspace.h"

namespace anneal::cpu {
namespace {

using int8::Row;

constexpr int64_t kHeld = int64_t(1) << 22;  // bytes of levels held at a time: they stay in the cache
constexpr int64_t kLine = 64;                // rows of levels are filled up with zeros to a multiple of it
constexpr int64_t kGrain = 32768;            // elements that are quantised by one thread at least

int64_t roundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/// Elements from `at` on as float32: as they lie, or converted in working memory.
const float* floatsAt(const View& v, int64_t at, int64_t n, Purpose purpose) {
  if (v.dtype == DType::Float32) return v.as<float>() + at;
  float* to = workspace<float>(purpose, size_t(n));
  converter(v.dtype, DType::Float32)(v.as<std::byte>() + at * int64_t(itemSize(v.dtype)), 1, to, 1, n);
  return to;
}
const float* floatsOf(const View& v, Purpose purpose) {
  return v.defined ? floatsAt(v, 0, v.size(), purpose) : nullptr;
}

/// A result in float32: in its place, or in working memory from where `store` takes it.
class FloatResult {
 public:
  explicit FloatResult(const View& y) : y_(y) {}
  float* rows(int64_t at, int64_t n) {
    at_ = at;
    n_ = n;
    held_ = y_.dtype == DType::Float32 ? y_.as<float>() + at : workspace<float>(Purpose::ConvResult, size_t(n));
    return held_;
  }
  void store() const {
    if (y_.dtype == DType::Float32) return;
    const auto size = int64_t(itemSize(y_.dtype));
    parallelFor(n_, kGrain, [&](int64_t begin, int64_t end) {
      converter(DType::Float32, y_.dtype)(held_ + begin, 1, y_.as<std::byte>() + (at_ + begin) * size, 1, end - begin);
    });
  }

 private:
  const View& y_;
  float* held_ = nullptr;
  int64_t at_ = 0, n_ = 0;
};

/// What a product has of the weights, for all columns.
int8::Product productOf(const Int8Weights& by, const Int8After& after) {
  int8::Product p;
  p.weight = by.weight.as<int8_t>();
  p.scale = floatsOf(by.scale, Purpose::ConvWeights);
  p.bias = floatsOf(by.bias, Purpose::ConvBias);
  p.plan = by.plan.defined ? by.plan.as<int32_t>() : nullptr;
  p.columns = by.weight.shape[0];
  p.activation = after.activation;
  return p;
}

}  // namespace

void int8Linear(const View& x, const Int8Weights& by, const Int8After& after, const View& y) {
  if (y.size() == 0) return;
  const int64_t width = by.weight.shape[1], columns = by.weight.shape[0], rows = y.size() / columns;
  const int64_t stride = roundUp(std::max<int64_t>(width, 1), kLine), taps[] = {0};
  int8::Product p = productOf(by, after);
  p.width = width;
  p.taps = taps;
  p.readable = stride;
  p.ldy = columns;
  FloatResult result(y);
  const int64_t step = std::max<int64_t>(kLine, kHeld / stride);
  for (int64_t first = 0; first < rows; first += step) {
    p.rows = std::min(step, rows - first);
    auto* levels = workspace<uint8_t>(Purpose::ConvSource, size_t(p.rows * stride));
    Row* table = workspace<Row>(Purpose::Patches, size_t(p.rows));
    parallelFor(p.rows, 1 + kGrain / stride, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const float* from = floatsAt(x, (first + r) * width, width, Purpose::Source);
        const Quantizer q = int8::rangeOf(from, width).quantizer();
        uint8_t* to = levels + r * stride;
        int8::quantize(from, width, q, to);
        std::fill(to + width, to + stride, uint8_t(0));
        table[r] = {to, q.scale, q.zero};
      }
    });
    p.x = table;
    p.y = result.rows(first * columns, p.rows * columns);
    if (after.residual.defined)
      p.residual = floatsAt(after.residual, first * columns, p.rows * columns, Purpose::Result);
    int8::multiply(p);
    result.store();
  }
}

namespace {

/// A convolution over three spatial axes as a product: images are copied as levels, with their padding, so that every
/// output position finds what it reads at the same distances.
class Int8Images {
 public:
  explicit Int8Images(const ConvShape& s) : s_(s), width_(roundUp(s.groupIn(), 4)), pixel_(width_ * s.groups) {
    for (int i = 0; i < 3; ++i) size_[i] = (s.out[i] - 1) * s.stride[i] + s.dilation[i] * (s.kernel[i] - 1) + 1;
    line_ = size_[2] * pixel_;
    image_ = size_[0] * size_[1] * line_;
  }

  int64_t bytes() const { return image_; }
  int64_t groupWidth() const { return width_; }

  /// Where the taps of an output position lie, from its first one on.
  std::vector<int64_t> taps() const {
    std::vector<int64_t> out;
    for (int64_t i = 0; i < s_.kernel[0]; ++i)
      for (int64_t j = 0; j < s_.kernel[1]; ++j)
        for (int64_t k = 0; k < s_.kernel[2]; ++k)
          out.push_back(((i * s_.dilation[0] * size_[1] + j * s_.dilation[1]) * size_[2] + k * s_.dilation[2]) *
                        pixel_);
    return out;
  }

  /// The levels of images from `first` on, quantised by `by`, and a row for each of their output positions.
  void fill(const View& x, int64_t first, std::span<const Quantizer> by, uint8_t* levels, Row* rows) const {
    const int64_t lines = size_[0] * size_[1], positions = s_.out.product();
    parallelFor(int64_t(by.size()) * lines, 1 + kGrain / std::max<int64_t>(line_, 1), [&](int64_t begin, int64_t end) {
      for (int64_t l = begin; l < end; ++l)
        fillLine(x, first + l / lines, l % lines / size_[1], l % size_[1], by[size_t(l / lines)], levels + l * line_);
      for (int64_t p = positions * begin / lines; p < positions * end / lines; ++p) {
        const int64_t n = p / positions, w = p % s_.out[2], h = p / s_.out[2] % s_.out[1],
                      d = p / (s_.out[2] * s_.out[1]) % s_.out[0];
        const int64_t pixel = (d * s_.stride[0] * size_[1] + h * s_.stride[1]) * size_[2] + w * s_.stride[2];
        rows[p] = {levels + n * image_ + pixel * pixel_, by[size_t(n)].scale, by[size_t(n)].zero};
      }
    });
  }

 private:
  void fillLine(const View& x, int64_t n, int64_t d, int64_t h, const Quantizer& by, uint8_t* to) const {
    d -= s_.before[0];
    h -= s_.before[1];
    const auto padding = uint8_t(by.zero);
    if (uint64_t(d) >= uint64_t(s_.in[0]) || uint64_t(h) >= uint64_t(s_.in[1]))
      return void(std::fill(to, to + line_, padding));
    const int64_t skipped = std::min(s_.before[2], size_[2]), channels = s_.inChannels;
    const int64_t count = std::min(s_.in[2], size_[2] - skipped);
    std::fill(to, to + skipped * pixel_, padding);
    std::fill(to + (skipped + count) * pixel_, to + line_, padding);
    const int64_t at = ((n * s_.in[0] + d) * s_.in[1] + h) * s_.in[2] * channels;
    const float* from = floatsAt(x, at, count * channels, Purpose::Source);
    to += skipped * pixel_;
    if (pixel_ == channels) return int8::quantize(from, count * channels, by, to);
    uint8_t* dense = workspace<uint8_t>(Purpose::PackedA, size_t(count * channels));
    int8::quantize(from, count * channels, by, dense);
    const int64_t used = s_.groupIn();
    for (int64_t i = 0; i < count * s_.groups; ++i) {
      std::copy_n(dense + i * used, used, to + i * width_);
      std::fill(to + i * width_ + used, to + (i + 1) * width_, uint8_t(0));
    }
  }

  const ConvShape& s_;
  int64_t width_, pixel_, line_, image_;
  std::array<int64_t, 3> size_{};
};

/// How each of `count` images is quantised.
std::vector<Quantizer> quantizersOf(const View& x, int64_t first, int64_t count) {
  const int64_t size = x.size() / x.shape[0], some = std::max<int64_t>(size, 1);
  const int64_t parts = std::clamp<int64_t>(size / kGrain, 1, 4 * threads());
  std::vector<Range> ranges(size_t(count * parts));
  parallelFor(count * parts, 1 + kGrain * parts / some, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t from = size * (i % parts) / parts, to = size * (i % parts + 1) / parts;
      const float* values = floatsAt(x, (first + i / parts) * size + from, to - from, Purpose::Source);
      ranges[size_t(i)] = int8::rangeOf(values, to - from);
    }
  });
  std::vector<Quantizer> out;
  for (int64_t n = 0; n < count; ++n) {
    Range all;
    for (int64_t i = 0; i < parts; ++i) all.include(ranges[size_t(n * parts + i)]);
    out.push_back(all.quantizer());
  }
  return out;
}

/// By products: a panel of weights for each group.
void convByProducts(const ConvShape& s, const View& x, const Int8Weights& by, const Int8After& after, const View& y) {
  const Int8Images images(s);
  const int64_t positions = s.out.product(), n = s.groupOut();
  const std::vector<int64_t> taps = images.taps();
  int8::Product p = productOf(by, after);
  p.width = s.groupIn();
  p.columns = n;
  p.ldy = s.outChannels;
  FloatResult result(y);
  const int64_t step = std::clamp<int64_t>(kHeld / std::max<int64_t>(images.bytes(), 1), 1, s.batch);
  for (int64_t first = 0; first < s.batch; first += step) {
    const int64_t count = std::min(step, s.batch - first), size = count * positions * s.outChannels;
    auto* levels = workspace<uint8_t>(Purpose::ConvSource, size_t(count * images.bytes()));
    Row* rows = workspace<Row>(Purpose::Patches, size_t(count * positions));
    images.fill(x, first, quantizersOf(x, first, count), levels, rows);
    const int64_t at = first * positions * s.outChannels;
    float* out = result.rows(at, size);
    const float* residual = after.residual.defined ? floatsAt(after.residual, at, size, Purpose::Result) : nullptr;
    for (int64_t g = 0; g < s.groups; ++g) {
      std::vector<int64_t> own = taps;
      for (int64_t& tap : own) tap += g * images.groupWidth();
      int8::Product group = p;
      group.rows = count * positions;
      group.x = rows;
      group.taps = own;
      group.weight += g * n * s.depth();
      if (p.plan) group.plan += g * int8Panels(n) * int8PlanSize(int64_t(taps.size()), p.width);
      group.scale += g * n;
      if (p.bias) group.bias += g * n;
      group.y = out + g * n;
      if (residual) group.residual = residual + g * n;
      int8::multiply(group);
    }
    result.store();
  }
}

float activated(Activation activation, float v) {
  if (activation == Activation::Relu) return scalar::Relu{}(v);
  return activation == Activation::Gelu ? scalar::Gelu{}(v) : v;
}

View floatView(float* data, const Shape& shape) {
  View v;
  v.memory = reinterpret_cast<std::byte*>(data);
  v.shape = shape;
  v.strides = contiguousStrides(shape);
  return v;
}

/// As a convolution of levels in float32, image by image: for groups of so few channels that products would be mostly
/// padding. It is exact up to sums of 2^24, about a thousand elements of a filter.
void convByFloats(ConvShape s, const View& x, const Int8Weights& by, const Int8After& after, const View& y) {
  const int64_t count = s.batch, in = s.in.product() * s.inChannels, out = s.out.product() * s.outChannels;
  s.batch = 1;
  float* levels = workspace<float>(Purpose::ConvSource, size_t(in));
  float* weight = workspace<float>(Purpose::Scores, size_t(by.weight.size()));
  convertStrided(by.weight.as<int8_t>(), 1, weight, 1, by.weight.size());
  const int8::Product p = productOf(by, after);
  const View source = floatView(levels, Shape{in}), filters = floatView(weight, by.weight.shape);
  FloatResult result(y);
  for (int64_t n = 0; n < count; ++n) {
    const Quantizer q = quantizersOf(x, n, 1)[0];
    parallelFor(in, kGrain, [&](int64_t begin, int64_t end) {
      const float* from = floatsAt(x, n * in + begin, end - begin, Purpose::Source);
      uint8_t* dense = workspace<uint8_t>(Purpose::PackedA, size_t(end - begin));
      int8::quantize(from, end - begin, q, dense);
      for (int64_t i = begin; i < end; ++i) levels[i] = float(int32_t(dense[i - begin]) - q.zero);
    });
    float* to = result.rows(n * out, out);
    convForward(s, source, filters, View{.defined = false}, floatView(to, Shape{out}));
    const float* residual = after.residual.defined ? floatsAt(after.residual, n * out, out, Purpose::Result) : nullptr;
    parallelFor(s.out.product(), 1 + kGrain / s.outChannels, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * s.outChannels; i < end * s.outChannels; ++i) {
        const int64_t c = i % s.outChannels;
        float value = to[i] * (q.scale * p.scale[c]) + (p.bias ? p.bias[c] : 0);
        if (residual) value += residual[i];
        to[i] = activated(after.activation, value);
      }
    });
    result.store();
  }
}

}  // namespace

void int8Conv(const ConvShape& s, const View& x, const Int8Weights& by, const Int8After& after, const View& y) {
  if (y.size() == 0) return;
  const ConvShape three = expanded(s);
  if (int8ByProducts(s)) convByProducts(three, x, by, after, y);
  else convByFloats(three, x, by, after, y);
}

bool int8ByProducts(const ConvShape& s) { return s.groups == 1 || (s.groupIn() >= 4 && s.groupOut() >= 8); }

}  // namespace anneal::cpu
