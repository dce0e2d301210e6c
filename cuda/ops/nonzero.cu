// Where elements are that are not 0.
#include "copy.h"
#include "device.h"
#include "index.h"
#include "ops/indexing.h"
#include "value.h"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;

/// How many elements of each run of kThreads are not 0.
__global__ void __launch_bounds__(kThreads) countRuns(const void* x, DType dtype, int64_t n, int64_t* counts) {
  const int64_t i = threadNumber();
  __shared__ int total;
  if (threadIdx.x == 0) total = 0;
  __syncthreads();
  if (i < n && loadAs<double>(x, dtype, i) != 0.0) atomicAdd(&total, 1);
  __syncthreads();
  if (threadIdx.x == 0) counts[blockIdx.x] = total;
}

/// Running sums of the counts before each, by one thread for as many as there are.
__global__ void __launch_bounds__(kThreads) sumBefore(int64_t* counts, int64_t runs) {
  __shared__ int64_t sums[kThreads];
  const int64_t share = (runs + kThreads - 1) / kThreads, begin = threadIdx.x * share;
  const int64_t end = std::min(runs, begin + share);
  int64_t own = 0;
  for (int64_t i = begin; i < end; ++i) own += counts[i];
  sums[threadIdx.x] = own;
  __syncthreads();
  int64_t before = 0;
  for (unsigned t = 0; t < threadIdx.x; ++t) before += sums[t];
  for (int64_t i = begin; i < end; ++i) {
    const int64_t mine = counts[i];
    counts[i] = before;
    before += mine;
  }
}

struct Dimensions {
  int rank;
  int64_t size[kMaxRank];
};

/// Writes the places of a run's elements that are not 0 where those of earlier runs end; no more than `most`.
__global__ void __launch_bounds__(kThreads) writePlaces(const void* x, DType dtype, int64_t n, const int64_t* before,
                                                        Dimensions shape, bool flat, int64_t most, int64_t* out) {
  __shared__ int found[kThreads];
  const int64_t i = threadNumber();
  found[threadIdx.x] = i < n && loadAs<double>(x, dtype, i) != 0.0;
  __syncthreads();
  if (!found[threadIdx.x]) return;
  int64_t at = before[blockIdx.x];
  for (unsigned t = 0; t < threadIdx.x; ++t) at += found[t];
  if (at >= most) return;
  if (flat) {
    out[at] = i;
    return;
  }
  int64_t rest = i;
  for (int axis = shape.rank - 1; axis >= 0; --axis) {
    out[at * shape.rank + axis] = rest % shape.size[axis];
    rest /= shape.size[axis];
  }
}

void nonzeroCuda(const Call<ops::Nonzero>& call) {
  const View& out = call.out[0];
  const Prepared x(call.in[0], call.in[0].dtype);
  const int64_t n = x.view().size();
  if (n == 0 || out.size() == 0) return;
  Dimensions shape{x.view().shape.rank(), {}};
  std::copy(x.view().shape.begin(), x.view().shape.end(), shape.size);
  const unsigned runs = blocksFor(n, kThreads);
  const Scratch counts(runs * sizeof(int64_t));
  launch(countRuns, runs, kThreads, 0, stream(), x.view().memory, x.view().dtype, n, counts.as<int64_t>());
  launch(sumBefore, 1, kThreads, 0, stream(), counts.as<int64_t>(), int64_t(runs));
  launch(writePlaces, runs, kThreads, 0, stream(), x.view().memory, x.view().dtype, n, counts.as<int64_t>(), shape,
         call.attrs.flat, call.attrs.count, out.as<int64_t>());
}

const Implement<ops::Nonzero> nonzeroOnCuda("nonzeroAt", DeviceType::Cuda, nonzeroCuda);

}  // namespace
}  // namespace anneal::cuda
