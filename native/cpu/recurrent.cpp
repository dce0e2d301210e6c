// Recurrent layers step by step. The recurrent weights are packed once; then one team of threads goes through all
// steps, each thread computing its own units (or, where the weights are small, its own rows of the batch) from the
// product to the new state, with one barrier per step.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/recurrent.cpp"
#include <hwy/foreach_target.h>
//
#include <cstring>

#include "cpu/gemm-inl.h"
#include "cpu/gemm.h"
#include "cpu/parallel.h"
#include "cpu/recurrent.h"
#include "cpu/recurrent_cells-inl.h"
#include "cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace {

constexpr int64_t kDepth = 256;            // of a product: a panel of the weights then fits into the first-level cache
constexpr int64_t kShared = 128 * 1024;    // elements of weights that every thread may read whole at each step
constexpr int64_t kStepGrain = 64 * 1024;  // multiplications of a step that are worth a thread

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

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

/// The first `count` of W_ih's rows by all of x, with the biases that go to the gates' sums.
template <class T>
void projectInputs(const RecurrenceForward& r) {
  const int64_t rows = weightRows(r.cell) * r.units;
  const T *ih = static_cast<const T*>(r.biasIh), *hh = static_cast<const T*>(r.biasHh);
  T* bias = nullptr;
  if (ih || hh) {
    bias = workspace<T>(Purpose::Scores, size_t(rows));
    // GRU's third bias belongs to the product that the reset gate scales.
    const int64_t both = r.cell == Cell::Gru ? 2 * r.units : rows;
    for (int64_t i = 0; i < rows; ++i) bias[i] = (ih ? ih[i] : T(0)) + (hh && i < both ? hh[i] : T(0));
  }
  gemm({.dtype = r.dtype,
        .m = r.batch * r.steps,
        .n = rows,
        .k = r.inputs,
        .a = {r.x, r.inputs, 1},
        .b = {r.weightIh, 1, r.inputs},
        .c = r.gates,
        .ldc = gateSlots(r.cell) * r.units,
        .bias = bias});
}

template <Cell C, class T>
class Forward {
 public:
  explicit Forward(const RecurrenceForward& r)
      : r_(r),
        sequence_(r),
        plan_(r),
        weights_(packWeights(static_cast<const T*>(r.weightHh), weightRows(C), r.units * r.units, r.units, r.units, 1,
                             r.units)),
        h_(workspace<T>(Purpose::PackedA, DoubleRows<T>::sizeFor(r.batch, r.units)), r.batch, r.units) {}

  void run() {
    onTeam(plan_, [&](const Part& part, auto&& barrier) {
      begin(part);
      barrier();
      for (int64_t step = 0; step < r_.steps; ++step) {
        multiply(part, step);
        for (int64_t n = part.row; n < part.rowEnd; ++n) advance(part, n, step);
        barrier();
      }
      for (int64_t n = part.row; n < part.rowEnd; ++n)
        copyOrClear(state(r_.h, n) + part.unit, h_.row(r_.steps, n) + part.unit, part.units());
    });
  }

 private:
  T* state(void* states, int64_t n) const { return static_cast<T*>(states) + n * r_.units; }
  const T* first(const void* states, int64_t n) const {
    return states ? static_cast<const T*>(states) + n * r_.units : nullptr;
  }

  void begin(const Part& part) {
    for (int64_t n = part.row; n < part.rowEnd; ++n) {
      copyOrClear(h_.row(0, n) + part.unit, r_.h0 ? first(r_.h0, n) + part.unit : nullptr, part.units());
      if (C == Cell::Lstm)
        copyOrClear(state(r_.c, n) + part.unit, r_.c0 ? first(r_.c0, n) + part.unit : nullptr, part.units());
    }
  }

  /// Adds W_hh h to the sums of this part's gates.
  void multiply(const Part& part, int64_t step) {
    constexpr int64_t N = kColumns<T>;
    const int64_t t = sequence_.time(step), H = r_.units, panels = ceilDiv(H, N);
    if (part.rows() == 0 || part.units() == 0) return;
    for (int64_t p = 0; p < H; p += kDepth) {
      const int64_t depth = std::min(kDepth, H - p);
      for (int64_t g = 0; g < weightRows(C); ++g) {
        const bool apart = C == Cell::Gru && g == 2;  // a sum of its own, in the last slot
        const T* bias = apart && p == 0 ? static_cast<const T*>(r_.biasHh) : nullptr;
        for (int64_t j = part.unit; j < part.unitEnd; j += N) {
          Result<T> out{sequence_.gates(part.row, t) + (apart ? 3 : g) * H + j, r_.steps * sequence_.slots * H, T(1),
                        T(apart && p == 0 ? 0 : 1), bias ? bias + 2 * H + j : nullptr};
          rowsByPanel<T>(part.rows(), depth, h_.row(step, part.row) + p, h_.stride, 1,
                         weights_.at(g * panels + j / N, p), N, std::min(N, part.unitEnd - j), out);
        }
      }
    }
  }

  void advance(const Part& part, int64_t n, int64_t step) {
    const int64_t t = sequence_.time(step), count = part.units();
    const T* before = h_.row(step, n) + part.unit;
    T *after = h_.row(step + 1, n) + part.unit, *y = static_cast<T*>(r_.y) + sequence_.place(n, t) + part.unit;
    T* cell = C == Cell::Lstm ? state(r_.c, n) + part.unit : nullptr;
    if (sequence_.past(n, t)) {
      copyOrClear(after, before, count);
      copyOrClear<T>(y, nullptr, count);
      return;
    }
    stepForward<C, T>({sequence_.gates(n, t) + part.unit, r_.units, before, after, cell}, count);
    copyOrClear(y, after, count);
    if (C == Cell::Lstm) copyOrClear(static_cast<T*>(r_.cells) + sequence_.place(n, t) + part.unit, cell, count);
  }

  const RecurrenceForward& r_;
  Sequence<T> sequence_;
  Plan<T> plan_;
  Panels<T> weights_;
  DoubleRows<T> h_;
};

template <Cell C, class T>
class Backward {
 public:
  explicit Backward(const RecurrenceBackward& r)
      : r_(r),
        sequence_(r),
        plan_(r),
        depth_(weightRows(C) * r.units),
        weights_(packWeights(static_cast<const T*>(r.weightHh), 1, 0, depth_, r.units, r.units, 1)),
        sums_(workspace<T>(Purpose::PackedA, DoubleRows<T>::sizeFor(r.batch, depth_)), r.batch, depth_),
        zeros_(size_t(r.units), T(0)) {}

  void run() {
    onTeam(plan_, [&](const Part& part, auto&& barrier) {
      for (int64_t n = part.row; n < part.rowEnd; ++n) {
        copyOrClear(gradH(part, n), r_.gradH ? static_cast<const T*>(r_.gradH) + n * r_.units + part.unit : nullptr,
                    part.units());
        if (C == Cell::Lstm)
          copyOrClear(gradC(part, n), r_.gradC ? static_cast<const T*>(r_.gradC) + n * r_.units + part.unit : nullptr,
                      part.units());
      }
      for (int64_t step = r_.steps - 1; step >= 0; --step) {
        for (int64_t n = part.row; n < part.rowEnd; ++n) retreat(part, n, step);
        barrier();
        multiply(part, step);
      }
    });
  }

 private:
  T* gradH(const Part& part, int64_t n) const { return static_cast<T*>(r_.gradH0) + n * r_.units + part.unit; }
  T* gradC(const Part& part, int64_t n) const {
    return C == Cell::Lstm ? static_cast<T*>(r_.gradC0) + n * r_.units + part.unit : nullptr;
  }
  const T* orZeros(const T* at, const Part& part) const { return at ? at + part.unit : zeros_.data(); }

  void retreat(const Part& part, int64_t n, int64_t step) {
    const int64_t t = sequence_.time(step), at = sequence_.place(n, t) + part.unit, count = part.units(), H = r_.units;
    T* grad = static_cast<T*>(r_.gradGates) + sequence_.place(n, t) * sequence_.slots + part.unit;
    T *sums = sums_.row(step, n) + part.unit, *previous = static_cast<T*>(r_.previous) + at;
    if (sequence_.past(n, t)) {
      copyOrClear<T>(previous, nullptr, count);
      for (int64_t s = 0; s < sequence_.slots; ++s) copyOrClear<T>(grad + s * H, nullptr, count);
      for (int64_t g = 0; g < weightRows(C); ++g) copyOrClear<T>(sums + g * H, nullptr, count);
      return;
    }
    T* dh = gradH(part, n);
    if (r_.gradY) {
      const T* HWY_RESTRICT dy = static_cast<const T*>(r_.gradY) + at;
      for (int64_t j = 0; j < count; ++j) dh[j] += dy[j];
    }
    const T* before = orZeros(sequence_.before(r_.y, r_.h0, n, t), part);
    const T *cell = nullptr, *cellBefore = nullptr;
    if constexpr (C == Cell::Lstm) {
      cell = static_cast<const T*>(r_.cells) + at;
      cellBefore = orZeros(sequence_.before(r_.cells, r_.c0, n, t), part);
    }
    copyOrClear(previous, before, count);
    stepBackward<C, T>({sequence_.gates(n, t) + part.unit, H, before, cell, cellBefore, dh, gradC(part, n), grad},
                       count);
    for (int64_t g = 0; g < weightRows(C); ++g)
      copyOrClear(sums + g * H, grad + (C == Cell::Gru && g == 2 ? 3 : g) * H, count);
  }

  /// Adds the gradients of W_hh h, by W_hh, to the gradient of the state before the step.
  void multiply(const Part& part, int64_t step) {
    constexpr int64_t N = kColumns<T>;
    if (part.rows() == 0) return;
    for (int64_t p = 0; p < depth_; p += kDepth) {
      for (int64_t j = part.unit; j < part.unitEnd; j += N) {
        Result<T> out{static_cast<T*>(r_.gradH0) + part.row * r_.units + j, r_.units, T(1), T(1)};
        rowsByPanel<T>(part.rows(), std::min(kDepth, depth_ - p), sums_.row(step, part.row) + p, sums_.stride, 1,
                       weights_.at(j / N, p), N, std::min(N, part.unitEnd - j), out);
      }
    }
  }

  const RecurrenceBackward& r_;
  Sequence<T> sequence_;
  Plan<T> plan_;
  int64_t depth_;
  Panels<T> weights_;
  DoubleRows<T> sums_;
  std::vector<T> zeros_;
};

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

}  // namespace

void forwardAt(const RecurrenceForward& r) {
  withTypes(r, [&]<Cell C, class T>(std::integral_constant<Cell, C>, T) {
    projectInputs<T>(r);
    Forward<C, T>(r).run();
  });
}

void backwardAt(const RecurrenceBackward& r) {
  withTypes(r, [&]<Cell C, class T>(std::integral_constant<Cell, C>, T) { Backward<C, T>(r).run(); });
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(forwardAt);
HWY_EXPORT(backwardAt);
void recurrence(const RecurrenceForward& r) { HWY_DYNAMIC_DISPATCH(forwardAt)(r); }
void recurrenceBackward(const RecurrenceBackward& r) { HWY_DYNAMIC_DISPATCH(backwardAt)(r); }
}  // namespace anneal::cpu
#endif
