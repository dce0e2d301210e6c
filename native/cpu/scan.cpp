#include "cpu/scan.h"

#include <algorithm>

#include "cpu/convert.h"
#include "cpu/parallel.h"

namespace anneal::cpu {
namespace {

constexpr int64_t kGrain = 8192;
constexpr int64_t kTile = 64;  // neighbouring lines that advance together, so that memory is read in order

/// What running totals are kept in: double for float, float for the 16-bit types; integers wrap around.
template <class T>
using Total =
    std::conditional_t<std::is_same_v<T, float> || std::is_same_v<T, double>, double,
                       std::conditional_t<std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>, float, uint64_t>>;

template <class Sum, class T>
Sum widen(T v) {
  if constexpr (std::is_same_v<Sum, uint64_t>) return uint64_t(convertTo<int64_t>(v));
  else return convertTo<Sum>(v);
}
template <class Out, class Sum>
Out narrowed(Sum v) {
  if constexpr (std::is_same_v<Sum, uint64_t>) return Out(v);
  else return convertTo<Out>(v);
}

/// Whole lines without gaps: several advance together, so that the steps of one need not wait for each other.
template <class State, class F>
void advanceRows(const Lines& lines, bool reverse, State initial, F&& step) {
  constexpr int64_t kTogether = 8;
  const int64_t n = lines.n;
  parallelFor(lines.count, std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end) {
    for (; begin + kTogether <= end; begin += kTogether) {
      State states[kTogether];
      std::fill_n(states, kTogether, initial);
      for (int64_t k = 0; k < n; ++k) {
        const int64_t at = begin * n + (reverse ? n - 1 - k : k);
#pragma GCC unroll 8
        for (int64_t r = 0; r < kTogether; ++r) step(states[r], at + r * n, k == 0);
      }
    }
    for (; begin < end; ++begin) {
      State state = initial;
      for (int64_t k = 0; k < n; ++k) step(state, begin * n + (reverse ? n - 1 - k : k), k == 0);
    }
  });
}

/// Calls `step(state, element, first)` for every element of every line in the line's order; each line has a state.
template <class State, class F>
void advance(const Lines& lines, bool reverse, State initial, F&& step) {
  if (lines.count == 0 || lines.n == 0) return;
  if (lines.step == 1) return advanceRows(lines, reverse, initial, step);
  const int64_t width = std::min(kTile, lines.step), tiles = (lines.step + width - 1) / width;
  const int64_t outer = lines.count / lines.step;
  parallelFor(outer * tiles, std::max<int64_t>(1, kGrain / (width * lines.n)), [&](int64_t begin, int64_t end) {
    State states[kTile];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t column = i % tiles * width, columns = std::min(width, lines.step - column);
      const int64_t start = i / tiles * lines.n * lines.step + column;
      std::fill_n(states, columns, initial);
      for (int64_t k = 0; k < lines.n; ++k) {
        const int64_t at = start + (reverse ? lines.n - 1 - k : k) * lines.step;
        for (int64_t j = 0; j < columns; ++j) step(states[j], at + j, k == 0);
      }
    }
  });
}

template <class T, class Out>
void cumulateOf(bool product, const View& x, const Lines& lines, bool reverse, const View& out) {
  using Sum = Total<T>;
  const T* from = x.as<T>();
  Out* to = out.as<Out>();
  if (product) {
    advance(lines, reverse, Sum(1),
            [=](Sum& total, int64_t i, bool) { to[i] = narrowed<Out>(total *= widen<Sum>(from[i])); });
  } else {
    advance(lines, reverse, Sum(0),
            [=](Sum& total, int64_t i, bool) { to[i] = narrowed<Out>(total += widen<Sum>(from[i])); });
  }
}

}  // namespace

void cumulate(bool product, const View& x, int axis, bool reverse, const View& out) {
  const Lines lines(x.shape, axis);
  visitType(x.dtype, [&]<class T>(TypeTag<T>) {
    using Out = std::conditional_t<std::is_same_v<Total<T>, uint64_t>, int64_t, T>;
    cumulateOf<T, Out>(product, x, lines, reverse, out);
  });
}

void linearScan(const View& gain, const View& x, int axis, bool reverse, const View& out) {
  const Lines lines(x.shape, axis);
  visitType(x.dtype, [&]<class T>(TypeTag<T>) {
    using Sum = Total<T>;
    if constexpr (!std::is_same_v<Sum, uint64_t>) {
      const T *a = gain.as<T>(), *b = x.as<T>();
      T* y = out.as<T>();
      if (reverse) {
        // The state is what the element before receives.
        advance(lines, true, Sum(0), [=](Sum& carry, int64_t i, bool) {
          const Sum value = convertTo<Sum>(b[i]) + carry;
          y[i] = convertTo<T>(value);
          carry = convertTo<Sum>(a[i]) * value;
        });
      } else {
        // The gain of a line's first element acts on nothing, even if it is infinite.
        advance(lines, false, Sum(0), [=](Sum& value, int64_t i, bool first) {
          value = convertTo<Sum>(b[i]) + (first ? Sum(0) : convertTo<Sum>(a[i]) * value);
          y[i] = convertTo<T>(value);
        });
      }
    }
  });
}

}  // namespace anneal::cpu
