// What the passes of recurrent layers share, compiled once for each instruction set: who computes what, and what lies
// where.
#if defined(ANNEAL_CPU_RECURRENT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_RECURRENT_INL_H_
#undef ANNEAL_CPU_RECURRENT_INL_H_
#else
#define ANNEAL_CPU_RECURRENT_INL_H_
#endif

#include <cstring>

#include "cpu/gemm-inl.h"
#include "cpu/recurrent.h"
#include "cpu/recurrent_cells-inl.h"
#include "cpu/schedule.h"
#include "cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace recurrent {

inline constexpr int64_t kDepth = 256;  // of a product: a panel of the weights then fits into the first-level cache
inline constexpr int64_t kShared = 128 * 1024;    // elements of weights that every thread may read whole at each step
inline constexpr int64_t kStepGrain = 64 * 1024;  // multiplications of a step that are worth a thread

/// The part of the layer that a thread computes: rows of the batch by units.
struct Part {
  int64_t row, rowEnd, unit, unitEnd;
  int64_t rows() const { return rowEnd - row; }
  int64_t units() const { return unitEnd - unit; }
};

/// How the layer is shared out: by rows, which needs no barriers, or by panels of units.
template <class T>
struct Plan {
  explicit Plan(const Recurrence& r) : rows(r.batch), units(r.units) {
    int64_t weights = weightRows(r.cell) * units * units;
    byRows = weights <= kShared && rows >= kRows * threads();
    int64_t most = byRows ? ceilDiv(rows, kRows) : ceilDiv(units, kColumns<T>);
    members = std::min(weights * rows / kStepGrain, most) > 1 ? threads() : 1;
  }
  Part part(int64_t member, int64_t of) const {
    const int64_t unit = byRows ? kRows : kColumns<T>, n = byRows ? rows : units, count = ceilDiv(n, unit);
    const int64_t begin = std::min(count * member / of * unit, n), end = std::min(count * (member + 1) / of * unit, n);
    return byRows ? Part{begin, end, 0, units} : Part{0, rows, begin, end};
  }
  int64_t rows, units, members;
  bool byRows;
};

/// Calls f(part, barrier) for every part, each on a thread of its own.
template <class T, class F>
void onTeam(const Plan<T>& plan, F&& f) {
  if (plan.members == 1 || !onStreamThread() || omp_in_parallel()) return f(plan.part(0, 1), [] {});
#pragma omp parallel num_threads(int(plan.members))
  f(plan.part(omp_get_thread_num(), omp_get_num_threads()), [&] {
    if (!plan.byRows) {
#pragma omp barrier
    }
  });
}

/// A matrix B [k, n] in panels of kColumns columns.
template <class T>
struct Panels {
  const T* data;
  int64_t depth, columns;
  const T* at(int64_t panel, int64_t p) const { return data + (panel * depth + p) * kColumns<T>; }
};

/// Packs B, whose element (p, j) of group g is at in[g * group + p * along + j * across]; panels of group after group.
template <class T>
Panels<T> packWeights(const T* in, int64_t groups, int64_t group, int64_t depth, int64_t columns, int64_t along,
                      int64_t across) {
  constexpr int64_t N = kColumns<T>;
  const int64_t each = ceilDiv(columns, N);
  T* to = workspace<T>(Purpose::PackedB, size_t(groups * each * depth * N));
  parallelFor(groups * each, std::max<int64_t>(1, 16384 / (depth * N)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t j = i % each * N;
      packPanel<N>(in + i / each * group + j * across, along, across, depth, std::min(N, columns - j),
                   to + i * depth * N);
    }
  });
  return {to, depth, columns};
}

/// Space for the states that products read, twice: one is read while the other is written. Rows are kept off a power of
/// two, which would put them all into the same lines of a cache.
template <class T>
struct DoubleRows {
  DoubleRows(T* at, int64_t rows, int64_t width) : data(at), stride(strideOf(width)), size(rows * stride) {}
  static int64_t strideOf(int64_t width) { return ceilDiv(width, 16) * 16 + 16; }
  static size_t sizeFor(int64_t rows, int64_t width) { return size_t(2 * rows * strideOf(width)); }
  T* row(int64_t parity, int64_t n) const { return data + (parity & 1) * size + n * stride; }
  T* data;
  int64_t stride, size;
};

/// The steps in the order in which they are done, and what lies where.
template <class T>
struct Sequence {
  explicit Sequence(const Recurrence& r) : r(r), slots(gateSlots(r.cell)) {}
  int64_t time(int64_t step) const { return r.reverse ? r.steps - 1 - step : step; }
  bool past(int64_t n, int64_t t) const { return r.lengths && t >= r.lengths[n]; }
  int64_t place(int64_t n, int64_t t) const { return (n * r.steps + t) * r.units; }
  T* gates(int64_t n, int64_t t) const { return static_cast<T*>(r.gates) + place(n, t) * slots; }
  /// What was there before step t of row n: a place in `states` [N, T, H] or in `first` [N, H], which may be null.
  const T* before(const void* states, const void* first, int64_t n, int64_t t) const {
    const int64_t earlier = r.reverse ? t + 1 : t - 1;
    if (earlier >= 0 && earlier < r.steps && !past(n, earlier))
      return static_cast<const T*>(states) + place(n, earlier);
    return first ? static_cast<const T*>(first) + n * r.units : nullptr;
  }
  const Recurrence& r;
  int64_t slots;
};

template <class T>
void copyOrClear(T* to, const T* from, int64_t n) {
  if (n == 0) return;
  if (from) std::memcpy(to, from, size_t(n) * sizeof(T));
  else std::memset(to, 0, size_t(n) * sizeof(T));
}

/// Asks for the lines of n elements that will be read, or written, soon.
template <class T>
void fetch(const T* at, int64_t n) {
  if (!at) return;
  for (int64_t i = 0; i < n; i += 64 / int64_t(sizeof(T))) __builtin_prefetch(at + i, 0, 2);
}

/// Calls f with the cell and the type as constants.
template <class F>
void withTypes(const Recurrence& r, F&& f) {
  auto typed = [&]<Cell C>(std::integral_constant<Cell, C> cell) {
    if (r.dtype == DType::Float64) f(cell, double());
    else f(cell, float());
  };
  switch (r.cell) {
    case Cell::Tanh: return typed(std::integral_constant<Cell, Cell::Tanh>{});
    case Cell::Relu: return typed(std::integral_constant<Cell, Cell::Relu>{});
    case Cell::Lstm: return typed(std::integral_constant<Cell, Cell::Lstm>{});
    default: return typed(std::integral_constant<Cell, Cell::Gru>{});
  }
}

}  // namespace recurrent
}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
