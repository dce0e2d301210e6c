// Where elements are that are not 0: each is counted, and its place goes where it comes in that count.
#include "copy.h"
#include "ops/indexing.h"
#include "scan.cuh"
#include "value.h"

namespace anneal::cuda {
namespace {

struct Dimensions {
  int rank;
  int64_t size[kMaxRank];
};

/// Running counts along a line, as scan() takes them; no more than `most` places are written.
struct Counting {
  using State = int64_t;
  const void* x;
  DType dtype;
  Dimensions shape;
  bool flat;
  int64_t most;
  int64_t* out;

  __device__ int64_t none() const { return 0; }
  __device__ int64_t item(int64_t, int64_t i) const { return loadAs<double>(x, dtype, i) != 0.0; }
  __device__ int64_t merge(int64_t a, int64_t b) const { return a + b; }
  __device__ void store(int64_t line, int64_t i, int64_t count) const {
    const int64_t at = count - 1;
    if (item(line, i) == 0 || at >= most) return;
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
};

void nonzeroCuda(const Call<ops::Nonzero>& call) {
  const View& out = call.out[0];
  const Prepared x(call.in[0], call.in[0].dtype);
  const Shape& shape = x.view().shape;
  if (shape.product() == 0 || out.size() == 0) return;
  Dimensions dimensions{shape.rank(), {}};
  std::copy(shape.begin(), shape.end(), dimensions.size);
  scan(Counting{x.view().memory, x.view().dtype, dimensions, call.attrs.flat, call.attrs.count, out.as<int64_t>()},
       cpu::Lines(Shape{shape.product()}, 0));
}

const Implement<ops::Nonzero> nonzeroOnCuda("nonzeroAt", DeviceType::Cuda, nonzeroCuda);

}  // namespace
}  // namespace anneal::cuda
