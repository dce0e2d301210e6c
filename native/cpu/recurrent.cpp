// Recurrent layers step by step. The recurrent weights are packed once; then one team of threads goes through all
// steps, each thread computing its own units (or, where the weights are small, its own rows of the batch) from the
// product to the new state, with one barrier per step.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/recurrent.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/gemm.h"
#include "cpu/recurrent-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace recurrent {

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

/// Space for a part's products with the state, dense: in the gates' own rows, which are far apart, the lines of many
/// rows would have to share few places of a cache.
template <class T>
struct PartSums {
  PartSums(const Part& part, int64_t weightRows)
      : first(part.row),
        pitch(oddLines(weightRows * part.units())),
        data(workspace<T>(Purpose::Scores, size_t(part.rows() * pitch))) {}
  T* row(int64_t n) const { return data + (n - first) * pitch; }
  int64_t first, pitch;
  T* data;
};

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
      const PartSums<T> sums(part, weightRows(C));
      begin(part);
      barrier();
      for (int64_t step = 0; step < r_.steps; ++step) {
        multiply(part, step, sums);
        for (int64_t n = part.row; n < part.rowEnd; ++n) {
          if (n + 2 < part.rowEnd) fetchRow(part, n + 2, step);
          advance(part, n, step, sums);
        }
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

  /// W_hh h for this part's gates.
  void multiply(const Part& part, int64_t step, const PartSums<T>& sums) {
    constexpr int64_t N = kColumns<T>;
    const int64_t H = r_.units, panels = ceilDiv(H, N);
    if (part.rows() == 0 || part.units() == 0) return;
    for (int64_t p = 0; p < H; p += kDepth) {
      const int64_t depth = std::min(kDepth, H - p);
      for (int64_t g = 0; g < weightRows(C); ++g) {
        // GRU's third sum is scaled by the reset gate, bias and all.
        const T* bias = C == Cell::Gru && g == 2 && p == 0 ? static_cast<const T*>(r_.biasHh) : nullptr;
        for (int64_t j = part.unit; j < part.unitEnd; j += N) {
          Result<T> out{sums.row(part.row) + g * part.units() + j - part.unit, sums.pitch, T(1), T(p ? 1 : 0),
                        bias ? bias + 2 * H + j : nullptr};
          rowsByPanel<T>(part.rows(), depth, h_.row(step, part.row) + p, h_.stride, 1,
                         weights_.at(g * panels + j / N, p), N, std::min(N, part.unitEnd - j), out);
        }
      }
    }
  }

  void fetchRow(const Part& part, int64_t n, int64_t step) const {
    for (int64_t s = 0; s < sequence_.slots; ++s)
      fetch(sequence_.gates(n, sequence_.time(step)) + s * r_.units + part.unit, part.units());
  }

  void advance(const Part& part, int64_t n, int64_t step, const PartSums<T>& sums) {
    const int64_t t = sequence_.time(step), count = part.units();
    const T* before = h_.row(step, n) + part.unit;
    T *after = h_.row(step + 1, n) + part.unit, *y = static_cast<T*>(r_.y) + sequence_.place(n, t) + part.unit;
    T* cell = C == Cell::Lstm ? state(r_.c, n) + part.unit : nullptr;
    if (sequence_.past(n, t)) {
      copyOrClear(after, before, count);
      copyOrClear<T>(y, nullptr, count);
      return;
    }
    stepForward<C, T>({sequence_.gates(n, t) + part.unit, r_.units, sums.row(n), before, after, cell}, count);
    copyOrClear(y, after, count);
    if (C == Cell::Lstm) copyOrClear(static_cast<T*>(r_.cells) + sequence_.place(n, t) + part.unit, cell, count);
  }

  const RecurrenceForward& r_;
  Sequence<T> sequence_;
  Plan<T> plan_;
  Panels<T> weights_;
  DoubleRows<T> h_;
};

}  // namespace recurrent

void forwardAt(const RecurrenceForward& r) {
  recurrent::withTypes(r, [&]<Cell C, class T>(std::integral_constant<Cell, C>, T) {
    recurrent::projectInputs<T>(r);
    recurrent::Forward<C, T>(r).run();
  });
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(forwardAt);
void recurrence(const RecurrenceForward& r) { HWY_DYNAMIC_DISPATCH(forwardAt)(r); }
}  // namespace anneal::cpu
#endif
