// softmax and logSoftmax, and their gradients from the result, along any axis.
#include "ops/softmax.h"

#include "copy.h"
#include "cpu/scalar.h"
#include "device.h"
#include "index.h"
#include "value.h"
#include "warp.h"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;
enum class Kind { Softmax, LogSoftmax, SoftmaxGrad, LogSoftmaxGrad };

template <class S>
using Computed = std::conditional_t<std::is_same_v<S, double>, double, float>;

/// What a line comes to: the largest and the sum of exponentials relative to it; for gradients a sum alone.
template <class T>
struct Total {
  T top, sum;
};

template <Kind K, class T>
struct Line {
  static constexpr bool kGrad = K == Kind::SoftmaxGrad || K == Kind::LogSoftmaxGrad;
  __device__ static Total<T> none() { return {-std::numeric_limits<T>::infinity(), T(0)}; }
  __device__ static Total<T> merge(Total<T> a, Total<T> b) {
    if constexpr (kGrad) return {a.top, a.sum + b.sum};
    else {
      const bool swap = b.top > a.top || b.top != b.top;
      const T top = swap ? b.top : a.top, low = swap ? a.top : b.top;
      const T scale = low == top ? T(1) : scalar::exp(low - top);  // equal infinities have no difference
      return {top, swap ? b.sum + a.sum * scale : a.sum + b.sum * scale};
    }
  }
  /// What an element adds: `a` is x, or y for a gradient, and `b` the gradient of y.
  __device__ static Total<T> of(T a, T b) {
    if constexpr (K == Kind::SoftmaxGrad) return {T(0), a * b};
    else if constexpr (K == Kind::LogSoftmaxGrad) return {T(0), b};
    else return {a, T(1)};
  }
  /// The total of a whole line: where an infinity is the largest, the exponentials have no sum.
  __device__ static Total<T> whole(Total<T> total) {
    if (!kGrad && scalar::IsInf{}(total.top)) total.sum = std::numeric_limits<T>::quiet_NaN();
    return total;
  }
  __device__ static T result(T a, T b, Total<T> total) {
    if constexpr (K == Kind::Softmax) return scalar::exp(a - total.top) / total.sum;
    else if constexpr (K == Kind::LogSoftmax) return (a - total.top) - scalar::log(total.sum);
    else if constexpr (K == Kind::SoftmaxGrad) return a * (b - total.sum);
    else return b - scalar::exp(a) * total.sum;
  }
};

template <Kind K, class T>
struct MergeLines {
  __device__ Total<T> operator()(Total<T> a, Total<T> b) const { return Line<K, T>::merge(a, b); }
};

/// Lines that are contiguous: one for each warp, or for each block.
template <Kind K, class S, bool Block>
__global__ void __launch_bounds__(kThreads) rowLines(const S* a, const S* b, S* out, int64_t lines, int64_t n) {
  using T = Computed<S>;
  using L = Line<K, T>;
  constexpr int kGroup = Block ? kThreads : kWarp;
  const int64_t line = threadNumber() / kGroup;
  if (line >= lines) return;
  const int lane = int(threadIdx.x) % kGroup;
  a += line * n;
  b += L::kGrad ? line * n : 0;
  out += line * n;
  auto total = L::none();
  for (int64_t i = lane; i < n; i += kGroup)
    total = L::merge(total, L::of(cpu::convertTo<T>(a[i]), L::kGrad ? cpu::convertTo<T>(b[i]) : T(0)));
  if constexpr (Block) {
    __shared__ Total<T> shared[kWarp];
    total = mergeBlock(total, shared, MergeLines<K, T>{});
  } else {
    total = mergeWarp(total, MergeLines<K, T>{});
  }
  total = L::whole(total);
  for (int64_t i = lane; i < n; i += kGroup)
    out[i] = cpu::convertTo<S>(L::result(cpu::convertTo<T>(a[i]), L::kGrad ? cpu::convertTo<T>(b[i]) : T(0), total));
}

/// Lines whose elements are `inner` apart: one for each thread, whose neighbours have neighbouring ones.
template <Kind K, class S>
__global__ void __launch_bounds__(kThreads)
    columnLines(const S* a, const S* b, S* out, int64_t lines, int64_t n, int64_t inner) {
  using T = Computed<S>;
  using L = Line<K, T>;
  const int64_t line = threadNumber();
  if (line >= lines) return;
  const int64_t base = line / inner * n * inner + line % inner;
  const auto first = [&](int64_t i) { return cpu::convertTo<T>(a[base + i * inner]); };
  const auto second = [&](int64_t i) { return L::kGrad ? cpu::convertTo<T>(b[base + i * inner]) : T(0); };
  auto total = L::none();
  for (int64_t i = 0; i < n; ++i) total = L::merge(total, L::of(first(i), second(i)));
  total = L::whole(total);
  for (int64_t i = 0; i < n; ++i) out[base + i * inner] = cpu::convertTo<S>(L::result(first(i), second(i), total));
}

template <Kind K, class S>
void launchLines(const View& a, const View* b, const View& out, int64_t lines, int64_t n, int64_t inner) {
  constexpr int64_t kLong = 1024;
  const S *x = a.as<S>(), *g = b ? b->as<S>() : nullptr;
  S* y = out.as<S>();
  if (inner > 1) launch(columnLines<K, S>, blocksFor(lines, kThreads), kThreads, 0, stream(), x, g, y, lines, n, inner);
  else if (n > kLong) launch(rowLines<K, S, true>, unsigned(lines), kThreads, 0, stream(), x, g, y, lines, n);
  else launch(rowLines<K, S, false>, blocksFor(lines * kWarp, kThreads), kThreads, 0, stream(), x, g, y, lines, n);
}

template <Kind K>
void softmaxCuda(const Call<ops::Along>& call) {
  const View& out = call.out[0];
  if (out.size() == 0) return;
  const Prepared a(call.in[0], out.dtype);
  std::optional<Prepared> b;
  if (call.in.size() > 1) b.emplace(call.in[1], out.dtype);
  const int rank = std::max(1, out.shape.rank()), axis = resolveAxis("softmax", call.attrs.axis, rank);
  const int64_t n = out.shape.rank() ? out.shape[axis] : 1;
  const int64_t inner = out.shape.rank() ? out.shape.slice(axis + 1, rank).product() : 1;
  const View* second = b ? &b->view() : nullptr;
  const int64_t lines = out.size() / n;
  switch (out.dtype) {
    case DType::Float64: return launchLines<K, double>(a.view(), second, out, lines, n, inner);
    case DType::Float16: return launchLines<K, Half>(a.view(), second, out, lines, n, inner);
    case DType::BFloat16: return launchLines<K, BFloat16>(a.view(), second, out, lines, n, inner);
    default: return launchLines<K, float>(a.view(), second, out, lines, n, inner);
  }
}

const Implement<ops::Along> onCuda[] = {{"softmax", DeviceType::Cuda, softmaxCuda<Kind::Softmax>},
                                        {"logSoftmax", DeviceType::Cuda, softmaxCuda<Kind::LogSoftmax>},
                                        {"softmaxGrad", DeviceType::Cuda, softmaxCuda<Kind::SoftmaxGrad>},
                                        {"logSoftmaxGrad", DeviceType::Cuda, softmaxCuda<Kind::LogSoftmaxGrad>}};

}  // namespace
}  // namespace anneal::cuda
