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

/// One row's step forwards: what the input gives to the gates comes in `gates` (slots `units` apart), what the state
/// gives in `sums` (dense); activations leave in `gates`.
template <class T>
struct RowForward {
  T* HWY_RESTRICT gates;
  int64_t units;
  const T* HWY_RESTRICT sums;
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

// One function to a loop: of several the compiler leaves some calls, and a loop with calls does not vectorise.
template <class T>
void sigmoids(T* HWY_RESTRICT x, const T* HWY_RESTRICT add, int64_t n) {
  for (int64_t j = 0; j < n; ++j) x[j] = scalar::sigmoid(x[j] + add[j]);
}
template <class T>
void tanhs(T* HWY_RESTRICT x, const T* HWY_RESTRICT add, int64_t n) {
  for (int64_t j = 0; j < n; ++j) x[j] = scalar::tanh(x[j] + add[j]);
}

template <class T>
void lstmForward(const RowForward<T>& r, int64_t n) {
  T *HWY_RESTRICT i = r.gates, *HWY_RESTRICT f = i + r.units, *HWY_RESTRICT g = f + r.units,
                  *HWY_RESTRICT o = g + r.units;
  T *HWY_RESTRICT after = r.after, *HWY_RESTRICT cell = r.cell;
  sigmoids(i, r.sums, n);
  sigmoids(f, r.sums + n, n);
  tanhs(g, r.sums + 2 * n, n);
  sigmoids(o, r.sums + 3 * n, n);
  for (int64_t j = 0; j < n; ++j) {
    cell[j] = f[j] * cell[j] + i[j] * g[j];
    after[j] = o[j] * scalar::tanh(cell[j]);
  }
}

template <class T>
void gruForward(const RowForward<T>& r, int64_t n) {
  T *HWY_RESTRICT reset = r.gates, *HWY_RESTRICT z = reset + r.units, *HWY_RESTRICT fresh = z + r.units,
                  *HWY_RESTRICT product = fresh + r.units;
  const T *HWY_RESTRICT before = r.before, *HWY_RESTRICT sums = r.sums + 2 * n;
  T* HWY_RESTRICT after = r.after;
  sigmoids(reset, r.sums, n);
  sigmoids(z, r.sums + n, n);
  for (int64_t j = 0; j < n; ++j) {
    product[j] = sums[j];
    fresh[j] += reset[j] * sums[j];
  }
  for (int64_t j = 0; j < n; ++j) {
    fresh[j] = scalar::tanh(fresh[j]);
    after[j] = (T(1) - z[j]) * fresh[j] + z[j] * before[j];
  }
}

template <Cell C, class T>
void stepForward(const RowForward<T>& r, int64_t n) {
  if constexpr (C == Cell::Lstm) return lstmForward(r, n);
  if constexpr (C == Cell::Gru) return gruForward(r, n);
  const T *HWY_RESTRICT gates = r.gates, *HWY_RESTRICT sums = r.sums;
  T* HWY_RESTRICT after = r.after;
  for (int64_t j = 0; j < n; ++j) {
    const T sum = gates[j] + sums[j];
    after[j] = C == Cell::Tanh ? scalar::tanh(sum) : (sum < T(0) ? T(0) : sum);
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
