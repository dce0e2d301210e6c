#include "cpu/copy.h"

#include <cstring>

#include "core/tensor.h"
#include "cpu/elementwise.h"
#include "cpu/parallel.h"

namespace anneal::cpu {
namespace {

constexpr int64_t kGrain = 16384;
constexpr int64_t kTile = 64;       // of a transposition: two tiles fit the first-level cache
constexpr int64_t kPitch = 64 + 8;  // off the powers of two, whose columns would share one cache set
constexpr int64_t kNarrow = 16;     // a side shorter than this is taken whole, the other in long pieces
constexpr int64_t kLong = 1024;

/// The axes of a copy after joining those that are contiguous with each other on both sides.
struct Axes {
  Shape shape;
  Strides from, to;

  Axes(const View& source, const View& target) {
    Strides s = broadcastStrides(source.shape, source.strides, target.shape);
    for (int i = 0; i < target.shape.rank(); ++i) {
      int64_t n = target.shape[i];
      if (n == 1) continue;
      int last = shape.rank() - 1;
      if (last >= 0 && from[last] == s[i] * n && to[last] == target.strides[i] * n) {
        shape[last] *= n;
        from[last] = s[i];
        to[last] = target.strides[i];
      } else {
        push(n, s[i], target.strides[i]);
      }
    }
    if (shape.rank() == 0) push(1, 1, 1);
  }

  /// Takes out an axis, giving its size and strides.
  struct One {
    int64_t n, from, to;
  };
  One take(int axis) {
    One one{shape[axis], from[axis], to[axis]};
    shape.erase(axis);
    from.erase(axis);
    to.erase(axis);
    return one;
  }

  void offsets(int64_t index, int64_t& source, int64_t& target) const {
    for (int i = shape.rank() - 1; i >= 0; --i) {
      source += index % shape[i] * from[i];
      target += index % shape[i] * to[i];
      index /= shape[i];
    }
  }

 private:
  void push(int64_t n, int64_t s, int64_t t) {
    shape.push(n);
    from.push(s);
    to.push(t);
  }
};

template <class T>
void copyRun(const T* from, int64_t fromStride, T* to, int64_t toStride, int64_t n) {
  if (toStride == 1 && fromStride == 1) {
    std::memcpy(to, from, size_t(n) * sizeof(T));
  } else if (toStride == 1 && fromStride == 0) {
    std::fill_n(to, n, *from);
  } else {
    for (int64_t i = 0; i < n; ++i) to[i * toStride] = from[i * fromStride];
  }
}

template <class T>
void copyRows(Axes axes, const T* from, T* to) {
  auto inner = axes.take(axes.shape.rank() - 1);
  int64_t total = axes.shape.product() * inner.n;
  parallelFor(total, kGrain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      int64_t column = begin % inner.n, n = std::min(end - begin, inner.n - column);
      int64_t source = column * inner.from, target = column * inner.to;
      axes.offsets(begin / inner.n, source, target);
      copyRun(from + source, inner.from, to + target, inner.to, n);
      begin += n;
    }
  });
}

/// to[i][j] = from[j][i] for a whole tile; rows of `from` are kPitch apart. Sixteen-byte shuffles are in every
/// baseline.
void transposeTile(const uint32_t* from, uint32_t* to, int64_t toRow) {
  using Four [[gnu::vector_size(16)]] = uint32_t;
  auto load = [](const uint32_t* at) {
    Four v;
    std::memcpy(&v, at, sizeof v);
    return v;
  };
  auto store = [](Four v, uint32_t* at) { std::memcpy(at, &v, sizeof v); };
  for (int64_t i = 0; i < kTile; i += 4) {
    for (int64_t j = 0; j < kTile; j += 4) {
      const uint32_t* at = from + j * kPitch + i;
      Four r0 = load(at), r1 = load(at + kPitch), r2 = load(at + 2 * kPitch), r3 = load(at + 3 * kPitch);
      Four a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), b = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
      Four c = __builtin_shufflevector(r0, r1, 2, 6, 3, 7), d = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
      uint32_t* out = to + i * toRow + j;
      store(__builtin_shufflevector(a, b, 0, 1, 4, 5), out);
      store(__builtin_shufflevector(a, b, 2, 3, 6, 7), out + toRow);
      store(__builtin_shufflevector(c, d, 0, 1, 4, 5), out + 2 * toRow);
      store(__builtin_shufflevector(c, d, 2, 3, 6, 7), out + 3 * toRow);
    }
  }
}

/// One tile of a transposition: `a` is contiguous in the source, `b` in the target.
template <class T>
void copyTile(const T* from, T* to, Axes::One a, Axes::One b) {
  if (a.n < kNarrow) {
    for (int64_t i = 0; i < a.n; ++i) copyRun(from + i * a.from, b.from, to + i * a.to, b.to, b.n);
    return;
  }
  if (b.n < kNarrow) {
    for (int64_t j = 0; j < b.n; ++j) copyRun(from + j * b.from, a.from, to + j * b.to, a.to, a.n);
    return;
  }
  // Through a buffer, so that memory is read and written in whole lines whatever the strides.
  alignas(64) T buffer[kTile * kPitch];
  for (int64_t j = 0; j < b.n; ++j) copyRun(from + j * b.from, a.from, buffer + j * kPitch, 1, a.n);
  if constexpr (sizeof(T) == 4) {
    if (a.n == kTile && b.n == kTile && a.from == 1 && b.to == 1) return transposeTile(buffer, to, a.to);
  }
  for (int64_t i = 0; i < a.n; ++i) copyRun(buffer + i, kPitch, to + i * a.to, b.to, b.n);
}

template <class T>
void copyTiles(const Axes& outer, Axes::One a, Axes::One b, const T* from, T* to) {
  int64_t aTile = b.n < kNarrow ? kLong : kTile, bTile = a.n < kNarrow ? kLong : kTile;
  int64_t aTiles = (a.n + aTile - 1) / aTile, bTiles = (b.n + bTile - 1) / bTile;
  int64_t grain = std::max<int64_t>(1, kGrain / (std::min(a.n, aTile) * std::min(b.n, bTile)));
  parallelFor(outer.shape.product() * aTiles * bTiles, grain, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      int64_t i = tile / bTiles % aTiles * aTile, j = tile % bTiles * bTile;
      int64_t source = i * a.from + j * b.from, target = i * a.to + j * b.to;
      outer.offsets(tile / bTiles / aTiles, source, target);
      copyTile<T>(from + source, to + target, {std::min(aTile, a.n - i), a.from, a.to},
                  {std::min(bTile, b.n - j), b.from, b.to});
    }
  });
}

/// The axis other than the last along which `strides` step by one, or -1.
int unitAxis(const Strides& strides) {
  for (int i = strides.rank() - 2; i >= 0; --i)
    if (strides[i] == 1) return i;
  return -1;
}

template <class T>
void copyAs(const View& source, const View& target) {
  Axes axes(source, target);
  int last = axes.shape.rank() - 1;
  const T* from = source.as<T>();
  T* to = target.as<T>();
  bool fromUnit = axes.from[last] == 1 || axes.from[last] == 0, toUnit = axes.to[last] == 1;
  int other = toUnit && !fromUnit ? unitAxis(axes.from) : (fromUnit && !toUnit ? unitAxis(axes.to) : -1);
  if (other < 0) return copyRows(axes, from, to);
  auto b = axes.take(last), a = axes.take(other);
  if (toUnit) copyTiles(axes, a, b, from, to);
  else copyTiles(axes, b, a, from, to);
}

}  // namespace

void copy(const View& from, const View& to) {
  if (to.size() == 0) return;
  visitWidth(to.dtype, [&]<class T>(TypeTag<T>) { copyAs<T>(from, to); });
}

void assign(const View& from, const View& to) {
  if (from.dtype == to.dtype) return copy(from, to);
  static const LoopSet set = loops<scalar::Copy>();
  mapTiles(set, nullptr, computeType(from.dtype), {&from, 1}, to);
}

void fill(const View& to, double value) { copy(scalarTensor(value, to.dtype).view(), to); }

View part(const View& v, const Shape& shape, const Strides& strides, int64_t offset) {
  View out = v;
  out.shape = shape;
  out.strides = strides;
  if (out.memory) out.memory += offset * int64_t(itemSize(v.dtype));
  return out;
}

View narrow(const View& v, int axis, int64_t start, int64_t size) {
  Shape shape = v.shape;
  shape[axis] = size;
  return part(v, shape, v.strides, start * v.strides[axis]);
}

Prepared::Prepared(const View& v, const Shape& shape, DType dtype) : view_(v) {
  if (v.dtype == dtype && v.shape == shape && v.contiguous()) return;
  memory_.resize(size_t(shape.product()) * itemSize(dtype));
  view_ = View{.memory = memory_.data(), .shape = shape, .strides = contiguousStrides(shape), .dtype = dtype};
  assign(v, view_);
}

}  // namespace anneal::cpu
