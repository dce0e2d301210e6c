#include "ops/sort.h"

#include "cpu/sort.h"
#include "op/infer.h"
#include "ops/creation.h"
#include "ops/indexing.h"

namespace anneal::ops {
namespace {

int axisOf(std::string_view op, int64_t axis, const Shape& shape) {
  return resolveAxis(op, axis, std::max(1, shape.rank()));
}

Specs inferSort(const Args<Sort>& c) {
  axisOf(c.op, c.attrs.axis, c.in[0].shape());
  return {c.in[0].spec(), {c.in[0].shape(), DType::Int64}};
}

Specs inferTopK(const Args<TopK>& c) {
  Shape shape = c.in[0].shape();
  const int axis = axisOf(c.op, c.attrs.axis, shape);
  const int64_t n = shape.rank() ? shape[axis] : 1;
  require(c.attrs.k >= 0 && c.attrs.k <= n, Code::Value, c.op, ": k must lie from 0 to the ", n,
          " elements along axis ", c.attrs.axis, " of ", shape, "; got ", c.attrs.k);
  if (shape.rank()) shape[axis] = c.attrs.k;
  else if (c.attrs.k == 0) shape.push(0);
  return {{shape, c.in[0].dtype()}, {shape, DType::Int64}};
}

void sortCpu(const Call<Sort>& call) {
  const View& x = call.in[0];
  cpu::sort(x, axisOf("sort", call.attrs.axis, x.shape), call.attrs.descending, call.out[0], call.out[1]);
}
const Implement<Sort> sortOnCpu("sort", DeviceType::Cpu, sortCpu);

void topKCpu(const Call<TopK>& call) {
  const View& x = call.in[0];
  cpu::topK(x, axisOf("topK", call.attrs.axis, x.shape), call.attrs.k, call.attrs.largest, call.out[0], call.out[1]);
}
const Implement<TopK> topKOnCpu("topK", DeviceType::Cpu, topKCpu);

/// Each value's gradient goes back to where the value was.
template <class A>
Tensors pickedVjp(const Vjp<A>& v) {
  if (!v.grad()) return {Tensor()};
  const Tensor& x = v.in();
  if (x.rank() == 0) return {v.grad().rank() ? zerosLike(x) : v.grad()};
  return {scatterAdd(full(x.shape(), 0, v.grad().dtype()), v.out(1).detach(), v.grad(), {.axis = v.attrs.axis})};
}

std::vector<Field> sortFields() {
  return {field<&Sort::axis>("axis", "the axis to sort along"),
          field<&Sort::descending>("descending", "the largest first")};
}

}  // namespace

const Op<Sort> sort({.name = "sort",
                     .doc = "The elements of `x` in order along `axis`, and the index (int64) at which each was. Equal "
                            "elements keep their "
                            "order; NaN counts as the largest.",
                     .inputs = {"x"},
                     .attrs = sortFields(),
                     .outputs = {"values", "indices"},
                     .infer = inferSort,
                     .vjp = pickedVjp<Sort>,
                     .saves = {.outputs = {1}},
                     .cost = [](const Sort&, std::span<const View> in, std::span<const View>) {
                       return 32 * double(in[0].size());
                     }});

const Op<Sort> argsort(
    {.name = "argsort",
     .doc =
         "The indices (int64) that put `x` in order along `axis`. Equal elements keep their order; NaN counts as the "
         "largest.",
     .inputs = {"x"},
     .attrs = sortFields(),
     .infer = [](const Args<Sort>& c) { return Specs{inferSort(c)[1]}; },
     .lower = [](const Args<Sort>& c) { return Tensors{sort.all(c.in, c.attrs)[1]}; }});

const Op<TopK> topK({.name = "topK",
                     .doc = "The `k` largest (or smallest) elements along `axis`, the best first, and the index "
                            "(int64) of each. NaN counts as "
                            "the largest. The size of `axis` in the results is `k`.",
                     .inputs = {"x"},
                     .attrs = {required<&TopK::k>("k", "how many"), field<&TopK::axis>("axis", "the axis to search"),
                               field<&TopK::largest>("largest", "false: the smallest")},
                     .outputs = {"values", "indices"},
                     .infer = inferTopK,
                     .vjp = pickedVjp<TopK>,
                     .saves = {.outputs = {1}},
                     .cost = [](const TopK& a, std::span<const View> in, std::span<const View>) {
                       return 4 * double(in[0].size()) + double(a.k);
                     }});

}  // namespace anneal::ops
