// The backward pass of recurrent layers, from the last step to the first; shared out as the forward pass is.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/recurrent_backward.cpp"
#include <hwy/foreach_target.h>
//
#include <vector>

#include "cpu/recurrent-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace recurrent {

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
        for (int64_t n = part.row; n < part.rowEnd; ++n) {
          if (n + 1 < part.rowEnd) fetchRow(part, n + 1, step);
          retreat(part, n, step);
        }
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

  void fetchRow(const Part& part, int64_t n, int64_t step) const {
    const int64_t t = sequence_.time(step), at = sequence_.place(n, t) + part.unit, count = part.units();
    for (int64_t s = 0; s < sequence_.slots; ++s) fetch(sequence_.gates(n, t) + s * r_.units + part.unit, count);
    if (r_.gradY) fetch(static_cast<const T*>(r_.gradY) + at, count);
    if (const T* before = sequence_.before(r_.y, r_.h0, n, t)) fetch(before + part.unit, count);
    if constexpr (C == Cell::Lstm) {
      fetch(static_cast<const T*>(r_.cells) + at, count);
      if (const T* before = sequence_.before(r_.cells, r_.c0, n, t)) fetch(before + part.unit, count);
    }
  }

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

}  // namespace recurrent

void backwardAt(const RecurrenceBackward& r) {
  recurrent::withTypes(
      r, [&]<Cell C, class T>(std::integral_constant<Cell, C>, T) { recurrent::Backward<C, T>(r).run(); });
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(backwardAt);
void recurrenceBackward(const RecurrenceBackward& r) { HWY_DYNAMIC_DISPATCH(backwardAt)(r); }
}  // namespace anneal::cpu
#endif
