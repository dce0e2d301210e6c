#include "cpu/reduce_loops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/reduce_loops.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "cpu/reducers.h"

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

template <class F, class T>
void tileLoop(const void* from, int64_t stride, int64_t rows, int64_t columns, const double* operand, void* to) {
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
    return Reducing{.f32 = tileLoop<F, float>, .f64 = tileLoop<F, double>, .i64 = tileLoop<F, int64_t>};
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
