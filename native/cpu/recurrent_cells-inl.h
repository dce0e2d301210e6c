// What one step does to n units that lie side by side, forwards and backwards: plain loops, compiled once for each
// instruction set.
#if defined(ANNEAL_CPU_RECURRENT_CELLS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_RECURRENT_CELLS_INL_H_
#undef ANNEAL_CPU_RECURRENT_CELLS_INL_H_
#else
#define ANNEAL_CPU_RECURRENT_CELLS_INL_H_
#endif

#include <hwy/highway.h>

#include "cpu/functors_math.h"
#include "cpu/recurrent.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

/// One row's step forwards: the gates' sums come in `gates` (slots `units` apart) and leave as their activations.
template <class T>
struct RowForward {
  T* HWY_RESTRICT gates;
  int64_t units;
  const T* HWY_RESTRICT before;  // the state before the step
  T* HWY_RESTRICT after;
  T* HWY_RESTRICT cell;  // LSTM: the cell's state, which is replaced
};

/// One row's step backwards: `gradH` is that of the state after the step, and becomes the part of that of the state
/// before that does not go through the weights.
template <class T>
struct RowBackward {
  const T* HWY_RESTRICT gates;
  int64_t units;
  const T* HWY_RESTRICT before;      // the state before the step
  const T* HWY_RESTRICT cell;        // LSTM: the cell's state after the step,
  const T* HWY_RESTRICT cellBefore;  // and before it
  T* HWY_RESTRICT gradH;
  T* HWY_RESTRICT gradC;
  T* HWY_RESTRICT gradGates;
};

template <Cell C, class T>
void stepForward(const RowForward<T>& r, int64_t n) {
  T *HWY_RESTRICT g0 = r.gates, *HWY_RESTRICT g1 = g0 + r.units, *HWY_RESTRICT g2 = g1 + r.units,
                  *HWY_RESTRICT g3 = g2 + r.units;
  const T* HWY_RESTRICT before = r.before;
  T *HWY_RESTRICT after = r.after, *HWY_RESTRICT cell = r.cell;
#pragma GCC ivdep
  for (int64_t j = 0; j < n; ++j) {
    if constexpr (C == Cell::Tanh) {
      after[j] = scalar::tanh(g0[j]);
    } else if constexpr (C == Cell::Relu) {
      after[j] = g0[j] < T(0) ? T(0) : g0[j];
    } else if constexpr (C == Cell::Lstm) {
      T i = scalar::sigmoid(g0[j]), f = scalar::sigmoid(g1[j]), g = scalar::tanh(g2[j]), o = scalar::sigmoid(g3[j]);
      T c = f * cell[j] + i * g;
      g0[j] = i, g1[j] = f, g2[j] = g, g3[j] = o;
      cell[j] = c;
      after[j] = o * scalar::tanh(c);
    } else {
      T reset = scalar::sigmoid(g0[j]), z = scalar::sigmoid(g1[j]), fresh = scalar::tanh(g2[j] + reset * g3[j]);
      g0[j] = reset, g1[j] = z, g2[j] = fresh;
      after[j] = (T(1) - z) * fresh + z * before[j];
    }
  }
}

template <Cell C, class T>
void stepBackward(const RowBackward<T>& r, int64_t n) {
  const T *HWY_RESTRICT g0 = r.gates, *HWY_RESTRICT g1 = g0 + r.units, *HWY_RESTRICT g2 = g1 + r.units,
                        *HWY_RESTRICT g3 = g2 + r.units;
  T *HWY_RESTRICT d0 = r.gradGates, *HWY_RESTRICT d1 = d0 + r.units, *HWY_RESTRICT d2 = d1 + r.units,
                  *HWY_RESTRICT d3 = d2 + r.units;
  const T *HWY_RESTRICT before = r.before, *HWY_RESTRICT cell = r.cell, *HWY_RESTRICT cellBefore = r.cellBefore;
  T *HWY_RESTRICT gradH = r.gradH, *HWY_RESTRICT gradC = r.gradC;
#pragma GCC ivdep
  for (int64_t j = 0; j < n; ++j) {
    const T dh = gradH[j];
    if constexpr (C == Cell::Tanh) {
      d0[j] = dh * (T(1) - g0[j] * g0[j]);
      gradH[j] = T(0);
    } else if constexpr (C == Cell::Relu) {
      d0[j] = g0[j] > T(0) ? dh : T(0);
      gradH[j] = T(0);
    } else if constexpr (C == Cell::Lstm) {
      const T i = g0[j], f = g1[j], g = g2[j], o = g3[j], t = scalar::tanh(cell[j]);
      const T dc = gradC[j] + dh * o * (T(1) - t * t);
      d0[j] = dc * g * i * (T(1) - i);
      d1[j] = dc * cellBefore[j] * f * (T(1) - f);
      d2[j] = dc * i * (T(1) - g * g);
      d3[j] = dh * t * o * (T(1) - o);
      gradC[j] = dc * f;
      gradH[j] = T(0);
    } else {
      const T reset = g0[j], z = g1[j], fresh = g2[j];
      const T dn = dh * (T(1) - z) * (T(1) - fresh * fresh);
      d0[j] = dn * g3[j] * reset * (T(1) - reset);
      d1[j] = dh * (before[j] - fresh) * z * (T(1) - z);
      d2[j] = dn;
      d3[j] = dn * reset;
      gradH[j] = dh * z;
    }
  }
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
