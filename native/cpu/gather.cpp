#include "cpu/gather.h"

#include <algorithm>
#include <cstring>

#include "core/around.h"
#include "cpu/convert.h"
#include "cpu/copy.h"
#include "cpu/parallel.h"

namespace anneal::cpu {
namespace {

constexpr int64_t kGrain = 16384;
constexpr int64_t kLine = 16;  // a thread's share of a row is at least a cache line of floats

template <class F>
void visitIndex(const View& index, F&& f) {
  if (index.dtype == DType::Int64) f(index.as<int64_t>());
  else f(index.as<int32_t>());
}

[[noreturn]] void outOfRange(Along along, int64_t value, int64_t position, int64_t size) {
  if (size == 0)
    fail(Code::Index, along.op, ": index ", value, " at position ", position, ": axis ", along.axis, " is empty");
  fail(Code::Index, along.op, ": index ", value, " at position ", position, " is out of range for axis ", along.axis,
       " of size ", size, "; expected 0 to ", size - 1);
}

void checkRange(Along along, int64_t value, int64_t position, int64_t size) {
  if (value < 0 || value >= size) [[unlikely]]
    outOfRange(along, value, position, size);
}

/// a + b in T, the 16-bit floats through float.
template <class T>
T plus(T a, T b) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) return convertTo<T>(toFloat(a) + toFloat(b));
  else if constexpr (std::is_same_v<T, bool>) return a || b;
  else if constexpr (std::is_integral_v<T>) return T(std::make_unsigned_t<T>(a) + std::make_unsigned_t<T>(b));
  else return a + b;
}

/// The lanes of an index along an axis, [outer, inner] many, with the place of each in a tensor that may be larger.
struct Lanes {
  Around index, other;
  std::vector<int64_t> outerAt, innerAt;

  Lanes(const Shape& indexShape, const Shape& otherShape, int axis) : index(indexShape, axis), other(otherShape, axis) {
    Strides strides = contiguousStrides(otherShape);
    outerAt = places(indexShape.slice(0, axis), strides.slice(0, axis), index.outer);
    innerAt =
        places(indexShape.slice(axis + 1, indexShape.rank()), strides.slice(axis + 1, strides.rank()), index.inner);
  }

  /// Calls f(lane's place in the index, its place in the other tensor) for lanes in parallel, blocks of them in step
  /// along the axis: f(at, otherAt, position along the axis).
  template <class F>
  void each(F&& f) const {
    if (index.inner == 1) return eachLast(f);
    int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, index.size));
    parallelFor(index.outer * index.inner, grain, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        int64_t o = begin / index.inner, first = begin % index.inner, n = std::min(end - begin, index.inner - first);
        for (int64_t j = 0; j < index.size; ++j) {
          int64_t row = (o * index.size + j) * index.inner;
          for (int64_t i = first; i < first + n; ++i) f(row + i, outerAt[size_t(o)] + innerAt[size_t(i)]);
        }
        begin += n;
      }
    });
  }

 private:
  /// The same where the axis is the last: lane after lane.
  template <class F>
  void eachLast(F&& f) const {
    int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, index.size));
    parallelFor(index.outer, grain, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        int64_t base = outerAt[size_t(o)], row = o * index.size;
        for (int64_t j = 0; j < index.size; ++j) f(row + j, base);
      }
    });
  }

  static std::vector<int64_t> places(const Shape& shape, const Strides& strides, int64_t count) {
    std::vector<int64_t> at(size_t(count), 0);
    for (int64_t k = 0; k < count; ++k) {
      int64_t rest = k;
      for (int a = shape.rank() - 1; a >= 0; --a) {
        at[size_t(k)] += rest % shape[a] * strides[a];
        rest /= shape[a];
      }
    }
    return at;
  }
};

}  // namespace

void indexSelect(Along along, const View& x, const View& index, const View& out) {
  Around a(x.shape, along.axis);
  int64_t count = index.size(), width = int64_t(itemSize(x.dtype)) * a.inner;
  visitIndex(index, [&](const auto* at) {
    int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, a.inner));
    parallelFor(a.outer * count, grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        int64_t o = r / count, k = r % count, row = at[k];
        checkRange(along, row, k, a.size);
        std::memcpy(out.as<std::byte>() + r * width, x.as<std::byte>() + (o * a.size + row) * width, size_t(width));
      }
    });
  });
}

void indexAdd(Along along, const View& index, const View& source, const View& out, int64_t skip) {
  Around a(out.shape, along.axis);
  int64_t count = index.size();
  visitIndex(index, [&](const auto* at) {
    for (int64_t k = 0; k < count; ++k) checkRange(along, at[k], k, a.size);
    visitType(out.dtype, [&]<class T>(TypeTag<T>) {
      auto addRows = [&](int64_t o, int64_t fromRow, int64_t toRow, int64_t first, int64_t last) {
        for (int64_t k = 0; k < count; ++k) {
          int64_t row = at[k];
          if (row < fromRow || row >= toRow || row == skip) continue;
          T* to = out.as<T>() + (o * a.size + row) * a.inner;
          const T* from = source.as<T>() + (o * count + k) * a.inner;
          for (int64_t i = first; i < last; ++i) to[i] = plus(to[i], from[i]);
        }
      };
      // Each thread owns places of the result and goes through the whole index in order: no sum depends on the threads.
      bool wide = a.inner >= kLine * threads();
      for (int64_t o = 0; o < a.outer; ++o) {
        if (wide)
          parallelFor(a.inner, std::max(kLine, kGrain / std::max<int64_t>(1, count)),
                      [&](int64_t b, int64_t e) { addRows(o, 0, a.size, b, e); });
        else if (a.outer < threads())
          parallelFor(a.size, count * a.inner < kGrain ? a.size : 1,
                      [&](int64_t b, int64_t e) { addRows(o, b, e, 0, a.inner); });
      }
      if (!wide && a.outer >= threads())
        parallelFor(a.outer, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, count * a.inner)),
                    [&](int64_t b, int64_t e) {
                      for (int64_t o = b; o < e; ++o) addRows(o, 0, a.size, 0, a.inner);
                    });
    });
  });
}

void gatherAlong(Along along, const View& x, const View& index, const View& out) {
  Lanes lanes(index.shape, x.shape, along.axis);
  visitIndex(index, [&](const auto* at) {
    visitWidth(x.dtype, [&]<class T>(TypeTag<T>) {
      lanes.each([&, to = out.as<T>(), from = x.as<T>(), at = at, size = lanes.other.size, step = lanes.other.inner](
                     int64_t i, int64_t base) {
        checkRange(along, at[i], i, size);
        to[i] = from[base + int64_t(at[i]) * step];
      });
    });
  });
}

void scatterAlong(Along along, const View& index, const View& source, const View& out, bool add) {
  Lanes lanes(index.shape, out.shape, along.axis);
  visitIndex(index, [&](const auto* at) {
    auto run = [&]<class T>(auto&& combine, TypeTag<T>) {
      lanes.each([&](int64_t i, int64_t base) {
        checkRange(along, at[i], i, lanes.other.size);
        T& to = out.as<T>()[base + int64_t(at[i]) * lanes.other.inner];
        to = combine(to, source.as<T>()[i]);
      });
    };
    if (add) visitType(out.dtype, [&]<class T>(TypeTag<T> t) { run([](T a, T b) { return plus(a, b); }, t); });
    else visitWidth(out.dtype, [&]<class T>(TypeTag<T> t) { run([](T, T b) { return b; }, t); });
  });
}

void oneHot(const View& index, const View& out) {
  fill(out, 0);
  int64_t classes = out.shape.back();
  visitIndex(index, [&](const auto* at) {
    visitType(out.dtype, [&]<class T>(TypeTag<T>) {
      for (int64_t i = 0, n = index.size(); i < n; ++i) {
        if (at[i] < 0 || at[i] >= classes)
          fail(Code::Index, "oneHot: class ", int64_t(at[i]), " at position ", i, " is out of range for ", classes,
               " classes; expected 0 to ", classes - 1);
        out.as<T>()[i * classes + at[i]] = convertTo<T>(1.0f);
      }
    });
  });
}

void nonzero(const View& x, bool flat, const View& out) {
  int64_t* to = out.as<int64_t>();
  int64_t found = 0, room = out.shape[0];
  int rank = x.shape.rank();
  visitType(x.dtype, [&]<class T>(TypeTag<T>) {
    for (int64_t i = 0, n = x.size(); i < n && found < room; ++i) {
      if (!convertTo<bool>(x.as<T>()[i])) continue;
      if (flat) {
        to[found] = i;
      } else {
        int64_t rest = i;
        for (int a = rank - 1; a >= 0; --a) {
          to[found * rank + a] = rest % x.shape[a];
          rest /= x.shape[a];
        }
      }
      ++found;
    }
  });
  require(found == room, Code::Internal, "nonzero: ", found, " elements are not 0; expected ", room);
}

}  // namespace anneal::cpu
