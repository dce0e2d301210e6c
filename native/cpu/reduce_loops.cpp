#include "cpu/reduce_loops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/reduce_loops.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

// A lane adds up at most this many elements in the type of x before it joins the total, which is double for floats.
constexpr int64_t kDepth = 64;
constexpr int64_t kWide = 256;

template <class T>
using Total = std::conditional_t<std::is_floating_point_v<T>, double, int64_t>;

template <class F, class T>
void intoLanes(const T* x, int64_t stride, int64_t rows, int64_t columns, const T* operand, T* __restrict lanes) {
  int64_t i = 0;
  // Four rows at a time save traffic with the lanes. Nested comparisons would keep the compiler from vectorising.
  if constexpr (!std::is_base_of_v<reducers::Highest, F> && !std::is_base_of_v<reducers::Lowest, F>) {
    for (; i + 4 <= rows; i += 4) {
      const T *a = x + i * stride, *b = a + stride, *c = b + stride, *d = c + stride;
      for (int64_t j = 0; j < columns; ++j) {
        const T o = operand[j];
        T first = F::merge(F::map(a[j], o), F::map(b[j], o)), second = F::merge(F::map(c[j], o), F::map(d[j], o));
        lanes[j] = F::merge(lanes[j], F::merge(first, second));
      }
    }
  }
  for (; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) lanes[j] = F::merge(lanes[j], F::map(x[i * stride + j], operand[j]));
}

/// How many rows of a narrow tile without gaps are read as one wide row, so that vectors fill.
inline int64_t widening(int64_t stride, int64_t rows, int64_t columns) {
  if (stride != columns || columns > kWide / 2) return 1;
  int64_t size = rows * columns, wide = size >= 8 * kWide ? kWide : 32;
  return size >= 2 * wide ? std::max<int64_t>(1, wide / columns) : 1;
}

namespace hn = hwy::HWY_NAMESPACE;

template <class F, class V>
V mergeVectors(V a, V b) {
  if constexpr (std::is_same_v<F, reducers::Sum>) return hn::Add(a, b);
  else if constexpr (std::is_same_v<F, reducers::Max>) return hn::IfThenElse(hn::Or(hn::Gt(b, a), hn::IsNaN(b)), b, a);
  else return hn::IfThenElse(hn::Or(hn::Lt(b, a), hn::IsNaN(b)), b, a);
}

/// The lanes of four vectors together; sums go on in double.
template <class F, class D, class V>
double mergedLanes(D d, V a, V b, V c, V e) {
  using T = hn::TFromD<D>;
  if constexpr (std::is_same_v<F, reducers::Sum>) {
    constexpr size_t kMost = hn::MaxLanes(D());
    alignas(64) T found[4 * kMost];
    hn::Store(a, d, found), hn::Store(b, d, found + kMost);
    hn::Store(c, d, found + 2 * kMost), hn::Store(e, d, found + 3 * kMost);
    double each[kMost], sum = 0;
    for (size_t j = 0; j < hn::Lanes(d); ++j)
      each[j] =
          (double(found[j]) + double(found[j + kMost])) + (double(found[j + 2 * kMost]) + double(found[j + 3 * kMost]));
    for (size_t j = 0; j < hn::Lanes(d); ++j) sum += each[j];
    return sum;
  } else {
    const V v = mergeVectors<F>(mergeVectors<F>(a, b), mergeVectors<F>(c, e));
    if (!hn::AllFalse(d, hn::IsNaN(v))) return std::numeric_limits<double>::quiet_NaN();
    if constexpr (std::is_same_v<F, reducers::Max>) return double(hn::GetLane(hn::MaxOfLanes(d, v)));
    else return double(hn::GetLane(hn::MinOfLanes(d, v)));
  }
}

/// Whether rows without gaps have a loop of their own.
template <class F, class T>
inline constexpr bool kRowLoop = std::is_floating_point_v<T> &&
                                 (std::is_same_v<F, reducers::Sum> || std::is_same_v<F, reducers::Max> ||
                                  std::is_same_v<F, reducers::Min>);

/// One row without gaps, in four vectors that stay in registers.
template <class F, class T>
void rowLoop(const T* x, int64_t n, double* acc) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = int64_t(hn::Lanes(d)), step = 4 * lanes;
  constexpr int64_t kTurns = std::is_same_v<F, reducers::Sum> ? kDepth / 4 : kDepth;  // few roundings per lane
  int64_t i = 0;
  while (n - i >= step) {
    const int64_t end = i + std::min(kTurns, (n - i) / step) * step;
    auto a = hn::Set(d, F::template initial<T>()), b = a, c = a, e = a;
    for (; i < end; i += step) {
      a = mergeVectors<F>(a, hn::LoadU(d, x + i));
      b = mergeVectors<F>(b, hn::LoadU(d, x + i + lanes));
      c = mergeVectors<F>(c, hn::LoadU(d, x + i + 2 * lanes));
      e = mergeVectors<F>(e, hn::LoadU(d, x + i + 3 * lanes));
    }
    *acc = F::merge(*acc, mergedLanes<F>(d, a, b, c, e));
  }
  for (; i < n; ++i) *acc = F::merge(*acc, double(x[i]));
}

/// Whether short rows without gaps are merged in vectors.
template <class F, class T>
inline constexpr bool kShortRow = kRowLoop<F, T> ||
                                  (std::is_floating_point_v<T> &&
                                   (std::is_same_v<F, reducers::Prod> || std::is_same_v<F, reducers::AbsSum> ||
                                    std::is_same_v<F, reducers::SquareSum> ||
                                    std::is_same_v<F, reducers::SquaredDeviation>));

template <class F, class V>
V mapVector(V x, [[maybe_unused]] V operand) {
  if constexpr (std::is_same_v<F, reducers::AbsSum>) return hn::Abs(x);
  else if constexpr (std::is_same_v<F, reducers::SquareSum>) return hn::Mul(x, x);
  else if constexpr (std::is_same_v<F, reducers::SquaredDeviation>)
    return hn::Mul(hn::Sub(x, operand), hn::Sub(x, operand));
  else return x;
}
template <class F, class V>
V mergeShort(V a, V b) {
  if constexpr (std::is_same_v<F, reducers::Prod>) return hn::Mul(a, b);
  else if constexpr (std::is_base_of_v<reducers::Adding, F>) return hn::Add(a, b);
  else return mergeVectors<F>(a, b);
}

/// A short row in four vectors, merged in the type of x.
template <class F, class T>
T shortRow(const T* x, int64_t n, T operand) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = int64_t(hn::Lanes(d)), step = 4 * lanes;
  const auto o = hn::Set(d, operand);
  auto a = hn::Set(d, F::template initial<T>()), b = a, c = a, e = a;
  int64_t i = 0;
  for (; i + step <= n; i += step) {
    a = mergeShort<F>(a, mapVector<F>(hn::LoadU(d, x + i), o));
    b = mergeShort<F>(b, mapVector<F>(hn::LoadU(d, x + i + lanes), o));
    c = mergeShort<F>(c, mapVector<F>(hn::LoadU(d, x + i + 2 * lanes), o));
    e = mergeShort<F>(e, mapVector<F>(hn::LoadU(d, x + i + 3 * lanes), o));
  }
  for (; i + lanes <= n; i += lanes) a = mergeShort<F>(a, mapVector<F>(hn::LoadU(d, x + i), o));
  const auto v = mergeShort<F>(mergeShort<F>(a, b), mergeShort<F>(c, e));
  T total;
  if constexpr (std::is_base_of_v<reducers::Adding, F>) {
    total = hn::GetLane(hn::SumOfLanes(d, v));
  } else if constexpr (std::is_same_v<F, reducers::Prod>) {
    alignas(64) T found[hn::MaxLanes(d)];
    hn::Store(v, d, found);
    total = found[0];
    for (int64_t l = 1; l < lanes; ++l) total *= found[l];
  } else {
    total = hn::GetLane(std::is_same_v<F, reducers::Max> ? hn::MaxOfLanes(d, v) : hn::MinOfLanes(d, v));
    if (!hn::AllFalse(d, hn::IsNaN(v))) total = std::numeric_limits<T>::quiet_NaN();
  }
  for (; i < n; ++i) total = F::merge(total, F::map(x[i], operand));
  return total;
}

template <class F, class T>
void rowsLoop(const void* from, int64_t stride, int64_t rows, int64_t n, const double* operand, void* to) {
  auto* acc = static_cast<Total<T>*>(to);
  for (int64_t i = 0; i < rows; ++i) {
    const T* x = static_cast<const T*>(from) + i * stride;
    const T o = operand ? T(operand[i]) : T(0);
    T total;
    if constexpr (kShortRow<F, T>) {
      total = shortRow<F>(x, n, o);
    } else {
      total = mergeLanes<F, T>(n, [x, o](int64_t j) { return F::map(x[j], o); });
    }
    acc[i] = F::merge(acc[i], Total<T>(total));
  }
}

template <class F, class T>
void tileLoop(const void* from, int64_t stride, int64_t rows, int64_t columns, const double* operand, void* to) {
  if constexpr (kRowLoop<F, T>)
    if (columns == 1 && stride == 1) return rowLoop<F>(static_cast<const T*>(from), rows, static_cast<double*>(to));
  alignas(64) T lanes[kMaxColumns], operands[kMaxColumns];
  const T* x = static_cast<const T*>(from);
  auto* acc = static_cast<Total<T>*>(to);
  const int64_t fold = widening(stride, rows, columns), width = columns * fold, deep = rows / fold;
  for (int64_t j = 0; j < width; ++j) operands[j] = operand ? T(operand[j % columns]) : T(0);
  for (int64_t i = 0; i < deep; i += kDepth) {
    std::fill(lanes, lanes + width, F::template initial<T>());
    intoLanes<F>(x + i * stride * fold, stride * fold, std::min(kDepth, deep - i), width, operands, lanes);
    for (int64_t groups = fold, half; groups > 1; groups = half) {
      half = (groups + 1) / 2;
#pragma GCC ivdep
      for (int64_t j = 0; j < (groups - half) * columns; ++j) lanes[j] = F::merge(lanes[j], lanes[j + half * columns]);
    }
    for (int64_t j = 0; j < columns; ++j) acc[j] = F::merge(acc[j], Total<T>(lanes[j]));
  }
  for (int64_t i = deep * fold; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) acc[j] = F::merge(acc[j], Total<T>(F::map(x[i * stride + j], operands[j])));
}

Reducing reducingAt(int index) {
  return reducers::visit(Reducer(index), []<class F>(F) {
    return Reducing{.tile = {tileLoop<F, float>, tileLoop<F, double>, tileLoop<F, int64_t>},
                    .rows = {rowsLoop<F, float>, rowsLoop<F, double>, rowsLoop<F, int64_t>}};
  });
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {

HWY_EXPORT(reducingAt);
Reducing reducing(Reducer reducer) { return HWY_DYNAMIC_DISPATCH(reducingAt)(int(reducer)); }

template <class Acc>
Acc initialTotal(Reducer reducer) {
  return reducers::visit(reducer, []<class F>(F) { return F::template initial<Acc>(); });
}
template <class Acc>
Acc mergeTotals(Reducer reducer, Acc a, Acc b) {
  return reducers::visit(reducer, [&]<class F>(F) { return F::merge(a, b); });
}
template double initialTotal<double>(Reducer);
template int64_t initialTotal<int64_t>(Reducer);
template double mergeTotals<double>(Reducer, double, double);
template int64_t mergeTotals<int64_t>(Reducer, int64_t, int64_t);

}  // namespace anneal::cpu
#endif
