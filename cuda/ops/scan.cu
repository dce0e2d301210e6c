// Cumulative sums and products, and linear recurrences. As on the CPU totals of float are kept in double, those of the
// 16-bit types in float; integers wrap around.
#include "ops/scan.h"

#include "copy.h"
#include "op/infer.h"
#include "rows.cuh"
#include "scan.cuh"

namespace anneal::cuda {
namespace {

template <class T>
using Total = std::conditional_t<sizeof(T) == 2, float, double>;

/// Elements of type T, or of any integer dtype where T is void.
template <class T>
struct Source {
  using Sum = Total<T>;
  using Out = T;
  const T* memory;
  explicit Source(const View& x) : memory(x.as<T>()) {}
  __device__ Sum at(int64_t i) const { return cpu::convertTo<Sum>(memory[i]); }
};
template <>
struct Source<void> {
  using Sum = uint64_t;
  using Out = int64_t;
  const void* memory;
  DType dtype;
  explicit Source(const View& x) : memory(x.data()), dtype(x.dtype) {}
  __device__ uint64_t at(int64_t i) const { return uint64_t(loadAs<int64_t>(memory, dtype, i)); }
};

/// Where the k-th element of a line lies.
struct Places {
  cpu::Lines lines;
  bool reverse;
  __device__ int64_t at(int64_t line, int64_t k) const {
    return lines.start(line) + (reverse ? lines.n - 1 - k : k) * lines.step;
  }
};

template <class T, bool Product>
struct Cumulating {
  using State = typename Source<T>::Sum;
  using Out = typename Source<T>::Out;
  Source<T> x;
  Out* out;
  Places places;
  __device__ State none() const { return State(Product ? 1 : 0); }
  __device__ State item(int64_t line, int64_t k) const { return x.at(places.at(line, k)); }
  __device__ State merge(State a, State b) const { return Product ? a * b : a + b; }
  __device__ void store(int64_t line, int64_t k, State v) const {
    if constexpr (std::is_integral_v<State>) out[places.at(line, k)] = Out(v);
    else out[places.at(line, k)] = cpu::convertTo<Out>(v);
  }
};

/// What elements in a row make of what comes before them: gain times it, plus value. Where the gains of many elements
/// overflow together, a zero stays one, as it does step by step, unless one of them is infinite itself: `wild`.
template <class S>
struct Linear {
  S gain, value;
  int wild;
};

template <class T>
struct Recurring {
  using S = Total<T>;
  using State = Linear<S>;
  const T *gain, *x;
  T* out;
  Places places;
  __device__ State none() const { return {S(1), S(0), 0}; }
  /// The gain of a line's first element acts on nothing. From the end, gains lie with the elements that they act on.
  __device__ State item(int64_t line, int64_t k) const {
    const int64_t at = places.at(line, k);
    const S g = k == 0 ? S(0) : cpu::convertTo<S>(gain[places.reverse ? at + places.lines.step : at]);
    return {g, cpu::convertTo<S>(x[at]), int(g - g != S(0))};
  }
  __device__ State merge(State a, State b) const {
    const S value = a.value == S(0) && !b.wild ? b.value : b.value + b.gain * a.value;
    return {a.gain * b.gain, value, a.wild | b.wild};
  }
  __device__ void store(int64_t line, int64_t k, State v) const {
    out[places.at(line, k)] = cpu::convertTo<T>(v.value);
  }
};

cpu::Lines linesOf(const Shape& shape, int64_t axis) {
  return {shape, resolveAxis("scan", axis, std::max(1, shape.rank()))};
}

template <bool Product>
void cumulate(const View& given, int64_t axis, bool reverse, const View& out) {
  const Prepared x(given, given.dtype);
  const Places places{linesOf(out.shape, axis), reverse};
  if (!isFloat(given.dtype))
    return scan(Cumulating<void, Product>{Source<void>(x.view()), out.as<int64_t>(), places}, places.lines);
  visitFloat(given.dtype, [&]<class T>(TypeTag<T>) {
    scan(Cumulating<T, Product>{Source<T>(x.view()), out.as<T>(), places}, places.lines);
  });
}

void cumsumCuda(const Call<ops::Cumulative>& call) {
  cumulate<false>(call.in[0], call.attrs.axis, call.attrs.reverse, call.out[0]);
}
void cumprodCuda(const Call<ops::CumulativeProduct>& call) {
  cumulate<true>(call.in[0], call.attrs.axis, false, call.out[0]);
}
void linearScanCuda(const Call<ops::Cumulative>& call) {
  const View& out = call.out[0];
  const Prepared gain(call.in[0], out.dtype), x(call.in[1], out.dtype);
  const Places places{linesOf(out.shape, call.attrs.axis), call.attrs.reverse};
  visitFloat(out.dtype, [&]<class T>(TypeTag<T>) {
    scan(Recurring<T>{gain.view().as<T>(), x.view().as<T>(), out.as<T>(), places}, places.lines);
  });
}

const Implement<ops::Cumulative> cumsumOnCuda("cumsum", DeviceType::Cuda, cumsumCuda);
const Implement<ops::CumulativeProduct> cumprodOnCuda("cumprod", DeviceType::Cuda, cumprodCuda);
const Implement<ops::Cumulative> linearScanOnCuda("linearScan", DeviceType::Cuda, linearScanCuda);

}  // namespace
}  // namespace anneal::cuda
