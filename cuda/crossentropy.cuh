#pragma once
// Rows of logits, their cross-entropies and the gradients: a warp or a block for each.
#include <string>

#include "exponentials.cuh"
#include "faults.h"

namespace anneal::cuda {

constexpr int kTotalThreads = 1024;

inline Error badTarget(const char* op, const FaultRecord& r) {
  return Error(Code::Index, text(op, ": the target of row ", r.a, " is ", r.b, "; expected a class from 0 to ", r.c - 1,
                                 " or ignoreIndex (", r.d, ")"));
}

/// What rows of logits are compared with.
struct Targets {
  const void* memory;
  DType dtype;
  Parameter weight;
  int64_t rows, classes, pitch;  // rows of logits are `pitch` elements apart
  int64_t ignore;
  double smoothing;
  FaultRecord* faults;
  int site;
  int64_t first = 0;  // the number of the first row among all

  __device__ int64_t classOf(int64_t row) const { return loadAs<int64_t>(memory, dtype, row); }
  /// Whether a row of that class counts.
  __device__ bool counts(int64_t wanted) const { return wanted != ignore && wanted >= 0 && wanted < classes; }
  template <class C>
  __device__ C weightOf(int64_t j) const {
    C w[1];
    weight.load(j, w, C(1));
    return w[0];
  }
  /// How much of the target falls to N classes from `at` on, apart from the class that is named: each with its weight.
  template <bool Soft, int N, class C>
  __device__ __forceinline__ void share(int64_t row, int64_t at, C (&to)[N]) const {
    const C hard = C(1 - smoothing), even = C(smoothing / double(classes));
    weight.load(at, to, C(1));
    C named[N] = {};
    if constexpr (Soft) Parameter(memory, dtype).load(row * classes + at, named, C(0));
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] *= hard * named[i] + even;
  }
};

/// Of each row its loss, its log-sum-exp, the weight of its target and what it counts in the mean.
template <class C>
struct RowResults {
  C *logSumExp, *weight;
  double *loss, *count;
};

/// Of a row: its log-sum-exp, the weight of its target, and, in the first thread, the loss.
template <class C>
struct RowLoss {
  C logSumExp, weight, loss, count;
};

/// The loss of a row of logits `x`. With `known` its target counts.
template <class T, bool Soft>
__device__ __forceinline__ RowLoss<Computed<T>> lossOfRow(const T* x, const Targets& t, int64_t row, int64_t wanted,
                                                          bool known, Exponentials<Computed<T>>* shared,
                                                          Two<Computed<T>>* sharedTwo) {
  using C = Computed<T>;
  if (!known) return {0, 0, 0, 0};
  const C chosen = Soft ? C(0) : cpu::convertTo<C>(x[wanted]);
  auto state = Exponentials<C>::none();
  eachLoaded(x, t.classes, [&]<int N>(Run<N>, int64_t, const C(&values)[N]) { take<T>(state, values); });
  state = mergeBlock(state, shared, MergeExponentials<T>());
  const C logSumExp = state.top + std::log(state.sum);
  Two<C> sums{0, 0};  // of shares, and of those times the loss of their class
  if (Soft || t.smoothing != 0) {
    eachLoaded<T, 1>(x, t.classes, [&]<int N>(Run<N>, int64_t at, const C(&values)[N]) {
      C part[N];
      t.share<Soft>(row, at, part);
#pragma unroll
      for (int i = 0; i < N; ++i) sums = sums + Two<C>{part[i], part[i] * (logSumExp - values[i])};
    });
    sums = mergeBlock(sums, sharedTwo, Add());
  }
  C count = 1;
  if (!Soft) {
    count = t.weightOf<C>(wanted);
    const C part = C(1 - t.smoothing) * count;
    sums = sums + Two<C>{part, part * (logSumExp - chosen)};
  }
  return {logSumExp, sums.first, sums.second, count};
}

/// Leaves what has been found of a row; called by one of its threads.
template <class C>
__device__ __forceinline__ void leave(const RowLoss<C>& found, const Targets& t, int64_t row, int64_t wanted,
                                      bool known, const RowResults<C>& out) {
  if (!known && wanted != t.ignore) report(t.faults, t.site, t.first + row, wanted, t.classes, t.ignore);
  if (out.logSumExp) out.logSumExp[row] = found.logSumExp, out.weight[row] = found.weight;
  out.loss[row] = double(found.loss);
  out.count[row] = double(found.count);
}

/// scale * (weight * softmax(x) - target) of a row; `out` may be `x`.
template <class T, bool Soft>
__device__ __forceinline__ void gradientOfRow(const T* x, const Targets& t, int64_t row, int64_t wanted, bool known,
                                              Computed<T> scale, Computed<T> weight, Computed<T> logSumExp, T* out) {
  using C = Computed<T>;
  if (!known) {
    eachRun(out, t.classes, [&]<int N>(Run<N>, int64_t at) {
      const C none[N] = {};
      storeRun<N>(out + at, none);
    });
    return;
  }
  const C factor = scale * weight, least = Soft ? C(0) : scale * C(1 - t.smoothing) * t.weightOf<C>(wanted);
  const auto write = [&]<bool Shares>(std::bool_constant<Shares>) {
    eachLoaded<T, Shares ? 1 : kPacksAtOnce<T>>(x, t.classes, [&]<int N>(Run<N>, int64_t at, C(&values)[N]) {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        values[i] = factor * exponential<T>(values[i] - logSumExp);
        if (!Soft && at + i == wanted) values[i] -= least;
      }
      if constexpr (Shares) {
        C part[N];
        t.share<Soft>(row, at, part);
#pragma unroll
        for (int i = 0; i < N; ++i) values[i] -= scale * part[i];
      }
      storeRun<N>(out + at, values);
    });
  };
  if (Soft || t.smoothing != 0) write(std::true_type{});
  else write(std::false_type{});
}

/// The sum or mean of the rows' losses, and what the mean divides by: one block.
template <class T>
__global__ void __launch_bounds__(kTotalThreads)
    totalOfRows(const double* loss, const double* count, int64_t rows, bool mean, T* total, Computed<T>* divisor) {
  __shared__ Two<double> shared[kWarp];
  Two<double> sum{0, 0};
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < rows; i += kTotalThreads) sum = sum + Two<double>{loss[i], count[i]};
  sum = mergeBlock(sum, shared, Add());
  if (threadIdx.x != 0) return;
  const double by = mean ? sum.second : 1;
  *divisor = Computed<T>(by);
  if (total) *total = cpu::convertTo<T>(Computed<T>(sum.first / by));
}

}  // namespace anneal::cuda
