// Tensors of given or counted values: full, range, linspace, eye.
#include "copy.h"
#include "device.h"
#include "index.h"
#include "ops/creation.h"
#include "value.h"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;

/// One value, N at a time.
template <class T, int N>
__global__ void __launch_bounds__(kThreads) fillRun(T value, T* to, int64_t n) {
  const int64_t begin = threadNumber() * N;
  if (begin + N <= n) {
    Pack<T, N> pack;
#pragma unroll
    for (int i = 0; i < N; ++i) pack.v[i] = value;
    *reinterpret_cast<Pack<T, N>*>(to + begin) = pack;
    return;
  }
  for (int64_t i = begin; i < n; ++i) to[i] = value;
}

struct Line {
  double start, step, stop;
  int64_t half, last;  // from `half` on values count back from `stop`, which is at `last`
};

template <class T>
__global__ void __launch_bounds__(kThreads) count(Line line, T* to, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  const double value =
      i < line.half ? line.start + double(i) * line.step : line.stop - double(line.last - i) * line.step;
  to[i] = cpu::convertTo<T>(value);
}

template <class T>
__global__ void __launch_bounds__(kThreads) diagonal(T one, T* to, int64_t columns, int64_t n) {
  const int64_t i = threadNumber();
  if (i < n) to[i] = i / columns == i % columns ? one : T{};
}

void countInto(const View& out, Line line) {
  const int64_t n = out.size();
  if (n == 0) return;
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    launch(count<T>, blocksFor(n, kThreads), kThreads, 0, stream(), line, out.as<T>(), n);
  });
}

void fullCuda(const Call<ops::Full>& call) { fill(call.out[0], call.attrs.value); }

void rangeCuda(const Call<ops::Range>& call) {
  const ops::Range& a = call.attrs;
  countInto(call.out[0], {a.start, a.step, 0, a.count, 0});
}

/// Each half counts from its own end, so that both ends are exact.
void linspaceCuda(const Call<ops::Linspace>& call) {
  const ops::Linspace& a = call.attrs;
  const double step = a.count > 1 ? (a.stop - a.start) / double(a.count - 1) : 0;
  countInto(call.out[0], {a.start, step, a.stop, a.count == 1 ? 1 : a.count / 2, a.count - 1});
}

void eyeCuda(const Call<ops::Eye>& call) {
  const View& out = call.out[0];
  const int64_t n = out.size();
  if (n == 0) return;
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    launch(diagonal<T>, blocksFor(n, kThreads), kThreads, 0, stream(), cpu::convertTo<T>(1.0f), out.as<T>(),
           out.shape[1], n);
  });
}

const Implement<ops::Full> fullOnCuda("full", DeviceType::Cuda, fullCuda);
const Implement<ops::Range> rangeOnCuda("range", DeviceType::Cuda, rangeCuda);
const Implement<ops::Linspace> linspaceOnCuda("linspace", DeviceType::Cuda, linspaceCuda);
const Implement<ops::Eye> eyeOnCuda("eye", DeviceType::Cuda, eyeCuda);

}  // namespace

void fillWith(const View& scalar, const View& out) {
  const int64_t n = out.size();
  if (n == 0) return;
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    const auto fill = [&]<int N>(std::integral_constant<int, N>) {
      launch(fillRun<T, N>, blocksFor(n, int64_t(kThreads) * N), kThreads, 0, stream(), scalarAs<T>(scalar),
             out.as<T>(), n);
    };
    if (aligned(out.memory)) fill(std::integral_constant<int, 16 / sizeof(T)>{});
    else fill(std::integral_constant<int, 1>{});  // a part of a tensor
  });
}

void fill(const View& out, double value) {
  const Tensor scalar = scalarTensor(value, out.dtype);
  if (out.contiguous()) return fillWith(scalar.view(), out);
  const Prepared one(scalar.view(), out.dtype);
  copy(one.view(), out);
}

}  // namespace anneal::cuda
