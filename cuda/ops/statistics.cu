// Reductions that keep more than one number of what they have seen: var, std, logSumExp, argmax, argmin.
#include <cmath>

#include "copy.h"
#include "op/infer.h"
#include "ops/arg.h"
#include "ops/reduce.h"
#include "reduce.cuh"

namespace anneal::cuda {
namespace {

/// Mean and sum of squared deviations, merged after Chan, Golub and LeVeque 1983.
template <class T>
struct Deviation {
  struct State {
    T n, mean, squares;
  };
  double correction;
  bool root;
  __device__ State none() const { return {0, 0, 0}; }
  __device__ void take(State& s, T x, int64_t) const {
    s.n += 1;
    const T from = x - s.mean;
    s.mean += from / s.n;
    s.squares += from * (x - s.mean);
  }
  __device__ State merge(State a, State b) const {
    if (b.n == 0) return a;
    if (a.n == 0) return b;
    const T n = a.n + b.n, apart = b.mean - a.mean;
    return {n, a.mean + apart * (b.n / n), a.squares + b.squares + apart * apart * (a.n * (b.n / n))};
  }
  __device__ T result(State s) const {
    const T freedom = s.n - T(correction), variance = s.squares / (freedom > T(0) ? freedom : T(0));
    return root ? std::sqrt(variance) : variance;
  }
};

/// log(sum(exp(x))): the largest so far, and the sum of exponentials relative to it.
template <class T>
struct LogSum {
  struct State {
    T top, sum;
  };
  __device__ State none() const { return {-std::numeric_limits<T>::infinity(), 0}; }
  __device__ void take(State& s, T x, int64_t) const { s = merge(s, {x, 1}); }
  __device__ State merge(State a, State b) const {
    if (b.top > a.top || b.top != b.top) {
      const State c = a;
      a = b;
      b = c;
    }
    // Equal tops, among them infinities, have no difference to take an exponential of.
    const T scale = b.top == a.top ? T(1) : std::exp(b.top - a.top);
    return {a.top, a.sum + b.sum * scale};
  }
  __device__ T result(State s) const { return s.top + std::log(s.sum); }
};

/// The place of the largest or smallest, the first of equal ones; the first NaN wins.
template <class T, bool Largest>
struct Place {
  struct State {
    T best;
    int64_t place;  // -1: nothing yet
  };
  __device__ State none() const { return {T(0), -1}; }
  __device__ void take(State& s, T x, int64_t place) const { s = merge(s, {x, place}); }
  __device__ State merge(State a, State b) const {
    if (a.place < 0) return b;
    if (b.place < 0) return a;
    const bool aNan = a.best != a.best, bNan = b.best != b.best;
    if (aNan != bNan) return aNan ? a : b;
    if (aNan || a.best == b.best) return a.place < b.place ? a : b;
    return (Largest ? b.best > a.best : b.best < a.best) ? b : a;
  }
  __device__ int64_t result(State s) const { return s.place; }
};

/// As floats: integers in float32, as the row's dtype says.
View asFloats(const View& x, std::optional<Prepared>& prepared) {
  if (isFloat(x.dtype) && x.memory) return x;
  return prepared.emplace(x, toFloat(x.dtype)).view();
}

/// A reduction that is defined for floats only.
template <class F>
void reduceFloats(const View& given, const std::optional<Ints>& axis, const View& out, F&& make) {
  std::optional<Prepared> prepared;
  const View x = asFloats(given, prepared);
  const Reducing r = reducingOf(x, reductionAxes("reduce", axis, x.shape.rank()), false);
  switch (x.dtype) {
    case DType::Float64: return reduceElements(make(TypeTag<double>{}), Elements<double>{x.as<double>()}, r, out);
    case DType::Float16: return reduceElements(make(TypeTag<float>{}), Elements<Half>{x.as<Half>()}, r, out);
    case DType::BFloat16: return reduceElements(make(TypeTag<float>{}), Elements<BFloat16>{x.as<BFloat16>()}, r, out);
    default: return reduceElements(make(TypeTag<float>{}), Elements<float>{x.as<float>()}, r, out);
  }
}

template <bool Root>
void varianceCuda(const Call<ops::Variance>& call) {
  reduceFloats(call.in[0], call.attrs.axis, call.out[0], [correction = call.attrs.correction]<class T>(TypeTag<T>) {
    return Deviation<T>{correction, Root};
  });
}

void logSumExpCuda(const Call<ops::Reduce>& call) {
  reduceFloats(call.in[0], call.attrs.axis, call.out[0], []<class T>(TypeTag<T>) { return LogSum<T>{}; });
}

template <bool Largest>
void placeCuda(const Call<ops::ArgReduce>& call) {
  const Prepared x(call.in[0], call.in[0].dtype);
  std::optional<Ints> axes;
  if (call.attrs.axis) axes = Ints{*call.attrs.axis};
  reduce(x.view(), reductionAxes("argmax", axes, x.view().shape.rank()), call.out[0], true,
         []<class T>(TypeTag<T>) { return Place<T, Largest>{}; });
}

const Implement<ops::Variance> varianceOnCuda("var", DeviceType::Cuda, varianceCuda<false>);
const Implement<ops::Variance> deviationOnCuda("std", DeviceType::Cuda, varianceCuda<true>);
const Implement<ops::Reduce> logSumExpOnCuda("logSumExp", DeviceType::Cuda, logSumExpCuda);
const Implement<ops::ArgReduce> argmaxOnCuda("argmax", DeviceType::Cuda, placeCuda<true>);
const Implement<ops::ArgReduce> argminOnCuda("argmin", DeviceType::Cuda, placeCuda<false>);

}  // namespace
}  // namespace anneal::cuda
