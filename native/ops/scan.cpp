#include "ops/scan.h"

#include "cpu/scan.h"
#include "op/infer.h"
#include "op/precision.h"
#include "ops/creation.h"
#include "ops/join.h"
#include "ops/operators.h"
#include "ops/slices.h"

namespace anneal::ops {
namespace {

int axisOf(std::string_view op, int64_t axis, const Shape& shape) {
  return resolveAxis(op, axis, std::max(1, shape.rank()));
}

template <class A>
Specs inferTotals(const Args<A>& c) {
  const Tensor& x = c.in[0];
  axisOf(c.op, c.attrs.axis, x.shape());
  return {{x.shape(), isFloat(x.dtype()) ? x.dtype() : DType::Int64}};
}

Specs inferScan(const Args<Cumulative>& c) {
  const Tensor &gain = c.in[0], &x = c.in[1];
  require(gain.spec() == x.spec() && isFloat(x.dtype()), Code::Shape, c.op,
          ": expected two tensors of floats of one shape and dtype; got ", gain.spec(), " and ", x.spec());
  axisOf(c.op, c.attrs.axis, x.shape());
  return {x.spec()};
}

void cumsumCpu(const Call<Cumulative>& call) {
  const View& x = call.in[0];
  cpu::cumulate(false, x, axisOf("cumsum", call.attrs.axis, x.shape), call.attrs.reverse, call.out[0]);
}
void cumprodCpu(const Call<CumulativeProduct>& call) {
  const View& x = call.in[0];
  cpu::cumulate(true, x, axisOf("cumprod", call.attrs.axis, x.shape), false, call.out[0]);
}
void scanCpu(const Call<Cumulative>& call) {
  const View& x = call.in[1];
  cpu::linearScan(call.in[0], x, axisOf("linearScan", call.attrs.axis, x.shape), call.attrs.reverse, call.out[0]);
}

const Implement<Cumulative> sumOnCpu("cumsum", DeviceType::Cpu, cumsumCpu);
const Implement<CumulativeProduct> productOnCpu("cumprod", DeviceType::Cpu, cumprodCpu);
const Implement<Cumulative> scanOnCpu("linearScan", DeviceType::Cpu, scanCpu);

/// Every element moved one place on along the axis; `first` comes in at the start.
Tensor shifted(const Tensor& x, int64_t axis, double first) {
  Shape shape = x.shape();
  if (shape.rank() == 0) return full(shape, first, x.dtype());
  const int at = axisOf("shift", axis, shape);
  if (shape[at] == 0) return x;
  const int64_t rest = shape[at] - 1;
  shape[at] = 1;
  return concat({full(shape, first, x.dtype()), narrow(x, {.axis = at, .start = 0, .size = rest})}, {.axis = at});
}

/// With respect to x the scan is linear, and its transpose the scan the other way. The gain of place k acts between
/// k - 1 and k, whichever way.
Tensors scanVjp(const Vjp<Cumulative>& v) {
  const auto [axis, reverse] = v.attrs;
  Tensor through = linearScan(v.in(0), v.grad(), {.axis = axis, .reverse = !reverse});
  Tensor gain;
  if (v.need(0)) gain = reverse ? shifted(through, axis, 0) * v.out() : through * shifted(v.out(), axis, 0);
  return {gain, through};
}

double scanCost(const Cumulative&, std::span<const View> in, std::span<const View>) { return 4 * double(in[0].size()); }

}  // namespace

/// products[j] holds x[k] for all j >= k, so that x[k] has the gradient products[k - 1] * sum over j >= k of grad[j] *
/// x[k + 1] * ... * x[j]. The sum is a scan from the end; nothing is divided, so zeros need no care in any order.
Tensor cumprodGradient(const Tensor& x, const Tensor& products, const Tensor& grad, int64_t axis) {
  return shifted(products, axis, 1) * linearScan(x, grad, {.axis = axis, .reverse = true});
}

const Op<Cumulative> cumsum(
    {.name = "cumsum",
     .doc = "The running sums of `x` along `axis`: each element plus all before it. Integers and bool add up as int64.",
     .inputs = {"x"},
     .attrs = {required<&Cumulative::axis>("axis", "the axis to add along"),
               field<&Cumulative::reverse>("reverse", "start at the end: each element plus all after it")},
     .infer = inferTotals<Cumulative>,
     .vjp =
         [](const Vjp<Cumulative>& v) {
           return Tensors{cumsum(v.grad(), {.axis = v.attrs.axis, .reverse = !v.attrs.reverse})};
         },
     .cost = scanCost});

const Op<CumulativeProduct> cumprod(
    {.name = "cumprod",
     .doc = "The running products of `x` along `axis`: each element times all before it. Integers and bool multiply as "
            "int64.",
     .inputs = {"x"},
     .attrs = {required<&CumulativeProduct::axis>("axis", "the axis to multiply along")},
     .infer = inferTotals<CumulativeProduct>,
     .vjp =
         [](const Vjp<CumulativeProduct>& v) {
           return Tensors{cumprodGradient(v.in(), v.out(), v.grad(), v.attrs.axis)};
         },
     .saves = {.inputs = {0}, .outputs = {0}},
     .cost = [](const CumulativeProduct&, std::span<const View> in,
                std::span<const View>) { return 4 * double(in[0].size()); }});

const Op<Cumulative> linearScan(
    {.name = "linearScan",
     .doc = "The linear recurrence `y[k] = x[k] + gain[k] * y[k - 1]` along `axis`, or from the end `y[k] = x[k] + "
            "gain[k + 1] * y[k + 1]`.",
     .inputs = {"gain", "x"},
     .attrs = {required<&Cumulative::axis>("axis", "the axis of the recurrence"),
               field<&Cumulative::reverse>("reverse", "start at the end")},
     .infer = inferScan,
     .vjp = scanVjp,
     .saves = {.inputs = {0}, .outputs = {0}},
     .internal = true,
     .cost = scanCost});

const ComputeIn precision(Precision::Full, {"cumsum", "cumprod"});

}  // namespace anneal::ops
