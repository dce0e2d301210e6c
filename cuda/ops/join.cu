// Tensors put together and cut to size: concat, padConstant, tril, triu.
#include "copy.h"
#include "cpu/copy.h"
#include "device.h"
#include "index.h"
#include "ops/join.h"
#include "ops/triangular.h"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;

void concatCuda(const Call<ops::Join>& call) {
  const View& out = call.out[0];
  const int axis = resolveAxis("concat", call.attrs.axis, out.shape.rank());
  int64_t start = 0;
  for (const View& v : call.in) {
    copy(v, cpu::narrow(out, axis, start, v.shape[axis]));
    start += v.shape[axis];
  }
}

/// The value everywhere, and then over it what is kept of x.
void padCuda(const Call<ops::PadConstant>& call) {
  View from = call.in[0], to = call.out[0];
  fill(to, call.attrs.value);
  for (int i = 0; i < from.shape.rank(); ++i) {
    const int64_t before = call.attrs.padding[size_t(2 * i)], cut = std::max<int64_t>(0, -before);
    const int64_t start = std::min(std::max<int64_t>(0, before), to.shape[i]);
    const int64_t kept = std::max<int64_t>(0, std::min(from.shape[i] - cut, to.shape[i] - start));
    to = cpu::narrow(to, i, start, kept);
    from = cpu::narrow(from, i, std::min(cut, from.shape[i]), kept);
  }
  copy(from, to);
}

template <class T, bool Lower>
__global__ void __launch_bounds__(kThreads)
    triangle(const T* from, T* to, int64_t rows, int64_t columns, int64_t diagonal, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  const int64_t column = i % columns, apart = column - i / columns % rows;
  to[i] = (Lower ? apart <= diagonal : apart >= diagonal) ? from[i] : T(0);
}

template <bool Lower>
void triangleCuda(const Call<ops::Triangle>& call) {
  const View &x = call.in[0], &out = call.out[0];
  const int64_t n = out.size();
  if (n == 0) return;
  cpu::visitWidth(out.dtype, [&]<class T>(TypeTag<T>) {
    launch(triangle<T, Lower>, blocksFor(n, kThreads), kThreads, 0, stream(), x.as<T>(), out.as<T>(), x.shape.back(2),
           x.shape.back(), call.attrs.diagonal, n);
  });
}

const Implement<ops::Join> concatOnCuda("concat", DeviceType::Cuda, concatCuda);
const Implement<ops::PadConstant> padOnCuda("padConstant", DeviceType::Cuda, padCuda);
const Implement<ops::Triangle> trilOnCuda("tril", DeviceType::Cuda, triangleCuda<true>);
const Implement<ops::Triangle> triuOnCuda("triu", DeviceType::Cuda, triangleCuda<false>);

}  // namespace
}  // namespace anneal::cuda
