// Reductions whose result is one number of the elements: sum, mean, prod, max, min, any, all, countNonzero, norm.
#include <cmath>

#include "copy.h"
#include "cpu/scalar.h"
#include "op/infer.h"
#include "ops/reduce.h"
#include "reduce.cuh"

namespace anneal::cuda {
namespace {

struct Squared {
  template <class T>
  __device__ T operator()(T x) const {
    return scalar::Square{}(x);
  }
};
struct Size {
  template <class T>
  __device__ T operator()(T x) const {
    return scalar::Abs{}(x);
  }
};
struct PowerOfSize {
  double power = 1;
  template <class T>
  __device__ T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) return x;
    else return std::pow(std::abs(x), T(power));
  }
};

template <class T>
struct Multiplying {
  using State = T;
  __device__ T none() const { return T(1); }
  __device__ void take(T& product, T x, int64_t) const { product = scalar::Mul{}(product, x); }
  __device__ T merge(T a, T b) const { return scalar::Mul{}(a, b); }
  __device__ T result(T product) const { return product; }
};

/// How many are not 0, counted exactly, or whether any or all are.
template <class T>
struct Counting {
  using State = int64_t;
  enum Kind { Count, Any, None } kind = Count;  // None: of those that are 0
  __device__ int64_t none() const { return 0; }
  __device__ void take(int64_t& n, T x, int64_t) const { n += (x != T(0)) == (kind != None); }
  __device__ int64_t merge(int64_t a, int64_t b) const { return a + b; }
  __device__ int64_t result(int64_t n) const { return kind == Count ? n : int64_t((n > 0) == (kind == Any)); }
};

/// The input on the device: a scalar that came with the call is put there.
struct Input {
  std::optional<Prepared> prepared;
  View view;
  explicit Input(const View& v) : view(v) {
    if (!v.memory) view = prepared.emplace(v, v.dtype).view();
  }
};

template <class A, class F>
void reduceCall(const Call<A>& call, F&& make) {
  const Input x(call.in[0]);
  reduce(x.view, reductionAxes("reduce", call.attrs.axis, x.view.shape.rank()), call.out[0], false, make);
}

void sumCuda(const Call<ops::Reduce>& call) {
  reduceCall(call, []<class T>(TypeTag<T>) { return Adding<T>{}; });
}
void meanCuda(const Call<ops::Reduce>& call) {
  const double n = double(ops::reducedCount(call.attrs.axis, call.in[0].shape));
  if (!isFloat(call.in[0].dtype)) {
    const Prepared x(call.in[0], DType::Float32);
    return reduce(x.view(), reductionAxes("mean", call.attrs.axis, x.view().shape.rank()), call.out[0], false,
                  [n]<class T>(TypeTag<T>) {
                    return Adding<T>{{Finish::Scale, 1 / n}, {}};
                  });
  }
  reduceCall(call, [n]<class T>(TypeTag<T>) { return Adding<T>{{Finish::Scale, 1 / n}, {}}; });
}
void prodCuda(const Call<ops::Reduce>& call) {
  reduceCall(call, []<class T>(TypeTag<T>) { return Multiplying<T>{}; });
}
template <bool Largest>
void extremumCuda(const Call<ops::Reduce>& call) {
  reduceCall(call, []<class T>(TypeTag<T>) { return Extremum<T, Largest>{}; });
}
template <int Kind>
void countCuda(const Call<ops::Reduce>& call) {
  reduceCall(call, []<class T>(TypeTag<T>) { return Counting<T>{typename Counting<T>::Kind(Kind)}; });
}

void normCuda(const Call<ops::Norm>& call) {
  const double p = call.attrs.p;
  if (p == 2) return reduceCall(call, []<class T>(TypeTag<T>) { return Adding<T, Squared>{{Finish::Root, 1}, {}}; });
  if (p == 1) return reduceCall(call, []<class T>(TypeTag<T>) { return Adding<T, Size>{}; });
  if (p == 0) return reduceCall(call, []<class T>(TypeTag<T>) { return Counting<T>{}; });
  if (std::isinf(p) && p > 0) return reduceCall(call, []<class T>(TypeTag<T>) { return Extremum<T, true, Size>{}; });
  if (std::isinf(p)) return reduceCall(call, []<class T>(TypeTag<T>) { return Extremum<T, false, Size>{}; });
  reduceCall(call, [p]<class T>(TypeTag<T>) { return Adding<T, PowerOfSize>{{Finish::Power, 1 / p}, {p}}; });
}

const Implement<ops::Reduce> onCuda[] = {{"sum", DeviceType::Cuda, sumCuda},
                                         {"mean", DeviceType::Cuda, meanCuda},
                                         {"prod", DeviceType::Cuda, prodCuda},
                                         {"max", DeviceType::Cuda, extremumCuda<true>},
                                         {"min", DeviceType::Cuda, extremumCuda<false>},
                                         {"any", DeviceType::Cuda, countCuda<1>},
                                         {"all", DeviceType::Cuda, countCuda<2>},
                                         {"countNonzero", DeviceType::Cuda, countCuda<0>}};
const Implement<ops::Norm> normOnCuda("norm", DeviceType::Cuda, normCuda);

}  // namespace
}  // namespace anneal::cuda
