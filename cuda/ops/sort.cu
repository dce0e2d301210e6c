#include "ops/sort.h"

#include "op/infer.h"
#include "order.cuh"

namespace anneal::cuda {

void sortPicked(const View& x, bool descending, const View& values, const View& indices) {
  const int last = x.shape.rank() - 1;
  const int64_t n = last < 0 ? 1 : x.shape[last], keep = last < 0 ? 1 : values.shape[last], rows = x.size() / n;
  const Picked picked{x.memory, int(itemSize(x.dtype)), values.memory, indices.as<int64_t>(), n, keep};
  visitOrder(x, n, descending, [&](const auto& ordered) { sortRows(ordered, picked, rows, n, ordered.bits()); });
}

namespace {

void sortCuda(const Call<ops::Sort>& call) {
  if (call.out[0].size() == 0) return;
  const Prepared x(call.in[0], call.in[0].dtype);
  const int axis = resolveAxis("sort", call.attrs.axis, std::max(1, x.view().shape.rank()));
  alongRows(x.view(), axis, call.out[0], call.out[1], [&](const View& rows, const View& values, const View& indices) {
    sortPicked(rows, call.attrs.descending, values, indices);
  });
}
const Implement<ops::Sort> sortOnCuda("sort", DeviceType::Cuda, sortCuda);

}  // namespace
}  // namespace anneal::cuda
