#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/conv_tiles.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/conv_tiles-inl.h"
#include "cpu/schedule.h"
#include "cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace tiles {

constexpr int64_t kDepth = 256;       // of a product's part: its weights fit into half of the first-level cache
constexpr int64_t kTaskPixels = 216;  // of a task: what it reads of the image fits into the second-level cache

constexpr int64_t kFewTiles = 24;  // with which the next part's weights would not come by themselves in time

/// The image as taps see it. Where it has few channels, it is a padded copy, and the taps along a line are one.
struct Image {
  ConvShape s;
  const float* x;
  int64_t pitch, channels;  // from pixel to pixel; of one tap

  int64_t taps() const { return s.kernel.product(); }
};

/// Whether the taps along a line are read as one, for loops of a length worth the name.
bool joinsTaps(const ConvShape& s) {
  return s.inChannels < 16 && s.kernel[2] > 1 && s.dilation[2] == 1 && s.before[0] >= 0 && s.before[1] >= 0 &&
         s.before[2] >= 0;
}

/// Copies the image with its padding; `s` becomes the shape of what is to be done with it.
const float* padImage(ConvShape& s, const float* x) {
  Dims size;
  for (int i = 0; i < 3; ++i) size.push(s.before[i] + s.in[i] + std::max<int64_t>(0, s.after[i]));
  const int64_t c = s.inChannels, line = size[2] * c, from = s.in[2] * c;
  float* padded = workspace<float>(Purpose::ConvPadded, size_t(s.batch * size.product() * c));
  parallelFor(s.batch * size[0] * size[1], 1 + 16384 / line, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t h = i % size[1] - s.before[1], d = i / size[1] % size[0] - s.before[0], n = i / (size[0] * size[1]);
      float* to = padded + i * line;
      const bool inside = h >= 0 && h < s.in[1] && d >= 0 && d < s.in[0];
      if (!inside) {
        std::fill_n(to, line, 0.0f);
        continue;
      }
      std::fill_n(to, s.before[2] * c, 0.0f);
      std::copy_n(x + ((n * s.in[0] + d) * s.in[1] + h) * from, from, to + s.before[2] * c);
      std::fill(to + s.before[2] * c + from, to + line, 0.0f);
    }
  });
  s.in = size;
  s.before = s.after = Dims{0, 0, 0};
  return padded;
}

Image imageOf(ConvShape s, const float* x) {
  if (!joinsTaps(s)) return {s, x, s.inChannels, s.inChannels};
  const float* padded = padImage(s, x);
  const int64_t joined = s.kernel[2] * s.inChannels;
  s.kernel[2] = 1;
  return {s, padded, s.inChannels, joined};
}

/// `pixels` shared out evenly, since tiles of one or two pixels take as long as of four: some tiles of `most`, then
/// tiles of one less.
struct Tiles {
  explicit Tiles(int64_t pixels)
      : count(ceilDiv(pixels, kPixels)), most(ceilDiv(pixels, count)), less(count * most - pixels) {}
  int64_t size(int64_t i) const { return i < count - less ? most : most - 1; }
  int64_t count, most, less;
};

/// Output pixels one after the other, without a division for each.
struct Place {
  Place(const ConvShape& s, int64_t pixel)
      : s(s),
        w(pixel % s.out[2]),
        h(pixel / s.out[2] % s.out[1]),
        d(pixel / (s.out[2] * s.out[1]) % s.out[0]),
        n(pixel / s.out.product()) {}
  void advance() {
    if (++w < s.out[2]) return;
    w = 0;
    if (++h < s.out[1]) return;
    h = 0;
    if (++d < s.out[0]) return;
    d = 0;
    ++n;
  }
  const ConvShape& s;
  int64_t w, h, d, n;
};

/// The addresses of all taps of output pixels [first, first + count): [tile, tap, kPixels].
void addresses(const Image& image, const float* zeros, int64_t first, int64_t count, const float** to) {
  const ConvShape& s = image.s;
  const Taps at(s);
  const int64_t taps = image.taps(), width = s.in[2], kernel = s.kernel[2], step = s.dilation[2];
  const Tiles tiles(count);
  Place place(s, first);
  for (int64_t i = 0, tile = 0, in = 0; i < count; ++i, ++in, place.advance()) {
    if (in == tiles.size(tile)) ++tile, in = 0;
    const float** out = to + tile * taps * kPixels + in;
    const int64_t left = at.place(2, place.w, 0);
    for (int64_t kd = 0; kd < s.kernel[0]; ++kd) {
      const int64_t id = at.place(0, place.d, kd);
      for (int64_t kh = 0; kh < s.kernel[1]; ++kh) {
        const int64_t ih = at.place(1, place.h, kh), line = ((place.n * s.in[0] + id) * s.in[1] + ih) * width;
        const bool inside = uint64_t(id) < uint64_t(s.in[0]) && uint64_t(ih) < uint64_t(s.in[1]);
        for (int64_t kw = 0, iw = left; kw < kernel; ++kw, iw += step, out += kPixels)
          *out = inside && uint64_t(iw) < uint64_t(width) ? image.x + (line + iw) * image.pitch : zeros;
      }
    }
  }
}

/// How the result is shared out: pixels by panels of channels.
struct Grid {
  static Grid of(int64_t pixels, int64_t panels) {
    const int64_t tasks = 4 * threads(), rows = std::max(ceilDiv(pixels, kTaskPixels), ceilDiv(tasks, panels));
    const int64_t last = ceilDiv(ceilDiv(pixels, rows), 4 * kPixels) * kPixels;
    const Tapered heights = rows > 1 ? Tapered(pixels, 4 * last, last) : Tapered(pixels, pixels, pixels);
    const int64_t width = ceilDiv(panels, std::clamp<int64_t>(ceilDiv(tasks, heights.count()), 1, panels));
    return {heights, Tapered(panels, width, rows > 1 ? width : 1)};
  }
  Tapered rows, columns;
};

/// A part of the depth: taps with all of their channels, or channels of one tap.
struct Parts {
  Parts(int64_t taps, int64_t channels) {
    const int64_t parts = ceilDiv(taps * channels, kDepth);
    tapStep = std::max<int64_t>(1, ceilDiv(taps, parts));
    channelStep = ceilDiv(channels, ceilDiv(channels, kDepth));
  }
  int64_t tapStep, channelStep;
};

class Convolution {
 public:
  Convolution(const Image& image, const float* packed, const ConvEnd& end, float* y)
      : image_(image),
        packed_(packed),
        end_(end),
        y_(y),
        taps_(image.taps()),
        channels_(image.channels),
        out_(image.s.outChannels),
        parts_(taps_, channels_),
        zeros_(size_t(channels_), 0.0f) {}

  void run() {
    const int64_t pixels = image_.s.batch * image_.s.out.product(), panels = ceilDiv(out_, kChannels);
    const Grid grid = Grid::of(pixels, panels);
    parallelTasks(grid.rows.count() * grid.columns.count(), [&](int64_t task) {
      const int64_t row = task / grid.columns.count(), column = task % grid.columns.count();
      const int64_t first = grid.rows.begin(row), count = grid.rows.size(row);
      const float** rows = workspace<const float*>(Purpose::Patches, size_t(ceilDiv(count, kPixels) * kPixels * taps_));
      addresses(image_, zeros_.data(), first, count, rows);
      for (int64_t j = grid.columns.begin(column); j < grid.columns.begin(column + 1); ++j)
        panelOf(rows, first, count, j);
    });
  }

 private:
  void panelOf(const float* const* rows, int64_t first, int64_t count, int64_t panel) const {
    const float* weights = packed_ + panel * taps_ * channels_ * kChannels;
    const int64_t channel = panel * kChannels, columns = std::min<int64_t>(kChannels, out_ - channel);
    for (int64_t t = 0; t < taps_; t += parts_.tapStep)
      for (int64_t c = 0; c < channels_; c += parts_.channelStep) {
        const int64_t taps = std::min(parts_.tapStep, taps_ - t), depth = std::min(parts_.channelStep, channels_ - c);
        TileEnd end{y_ + first * out_ + channel,
                    out_,
                    end_.bias ? end_.bias + channel : nullptr,
                    end_.residual ? end_.residual + first * out_ + channel : nullptr,
                    t == 0 && c == 0,
                    end_.relu && t + taps == taps_ && c + depth == channels_};
        part(rows + t * kPixels, count, taps, c, depth, weights, columns, end);
        weights += taps * depth * kChannels;
      }
  }

  /// One part of the depth for all pixels, while its weights are in the cache and those of the next part come there.
  void part(const float* const* rows, int64_t count, int64_t taps, int64_t from, int64_t depth, const float* weights,
            int64_t columns, TileEnd end) const {
    const Tiles tiles(count);
    const float* next = weights + taps * depth * kChannels;
    const int64_t lines = tiles.count < kFewTiles ? ceilDiv(taps * depth * kChannels, 16 * tiles.count) : 0;
    for (int64_t i = 0; i < tiles.count; ++i) {
      for (int64_t line = 0; line < lines; ++line, next += 16) __builtin_prefetch(next, 0, 2);
      const int64_t pixels = tiles.size(i);
      convTileOf(pixels, rows, taps, from, depth, weights, columns, end);
      rows += taps_ * kPixels;
      end.y += pixels * out_;
      if (end.residual) end.residual += pixels * out_;
    }
  }

  const Image& image_;
  const float* packed_;
  ConvEnd end_;
  float* y_;
  int64_t taps_, channels_, out_;
  Parts parts_;
  std::vector<float> zeros_;
};

}  // namespace tiles

int64_t tilesSize(const ConvShape& s) { return ceilDiv(s.outChannels, kChannels) * kChannels * s.depth(); }

void tilesPack(const ConvShape& s, const Filter& weight, float* packed) {
  const int64_t taps = s.kernel.product(), channels = s.inChannels, size = taps * channels * kChannels;
  parallelFor(ceilDiv(s.outChannels, kChannels), 1 + 65536 / size, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j)
      for (int64_t t = 0; t < taps; ++t)
        packPanel<kChannels>(weight.data + j * kChannels * weight.out + t * weight.tap, weight.in, weight.out, channels,
                             std::min<int64_t>(kChannels, s.outChannels - j * kChannels),
                             packed + j * size + t * channels * kChannels);
  });
}

void tilesRun(const ConvShape& s, const float* x, const float* packed, const ConvEnd& end, float* y) {
  const tiles::Image image = tiles::imageOf(s, x);
  tiles::Convolution(image, packed, end, y).run();
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(tilesSize);
HWY_EXPORT(tilesPack);
HWY_EXPORT(tilesRun);
int64_t ConvTiles::packedSize(const ConvShape& s) { return HWY_DYNAMIC_DISPATCH(tilesSize)(s); }
void ConvTiles::pack(const ConvShape& s, const Filter& weight, float* packed) {
  HWY_DYNAMIC_DISPATCH(tilesPack)(s, weight, packed);
}
void ConvTiles::run(const ConvShape& s, const float* x, const float* packed, const ConvEnd& end, float* y) {
  HWY_DYNAMIC_DISPATCH(tilesRun)(s, x, packed, end, y);
}
}  // namespace anneal::cpu
#endif
