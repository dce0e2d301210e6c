// The operations over windows that pooling and its gradients come down to.
#include "ops/pool_windows.h"

#include "ops/spatial.h"

namespace anneal::ops {
namespace {

using cpu::AxisMap;
using cpu::SpatialMap;

int64_t product(const Ints& list) { return Dims(list).product(); }

/// One axis of windows. An average divides by the window's size, which reaches into the padding or not.
AxisMap mapOf(const Windows& w, size_t axis) {
  const int64_t in = w.input[axis], out = w.output[axis], kernel = w.kernel[axis], padding = w.padding[axis];
  AxisMap map{.inputs = in, .taps = kernel};
  for (int64_t o = 0; o < out; ++o) {
    // Adaptive windows are as even as can be and overlap where the sizes do not divide.
    const int64_t start = w.adaptive ? o * in / out : o * w.stride[axis] - padding;
    const int64_t end = w.adaptive ? ((o + 1) * in + out - 1) / out : start + kernel * w.dilation[axis];
    const int64_t step = w.adaptive ? 1 : w.dilation[axis];
    const int64_t padded = std::min(end, in + padding) - start,
                  covered = std::min(end, in) - std::max<int64_t>(start, 0);
    const double weight = 1.0 / double(w.adaptive ? end - start : (w.countIncludePad ? padded : covered));
    for (int64_t at = start, tap = 0; at < end; at += step, ++tap)
      if (at >= 0 && at < in) map.entries.push_back({at, tap, weight});
    map.close();
  }
  return map;
}

}  // namespace

SpatialMap mapOf(const Windows& w) {
  std::vector<AxisMap> maps;
  for (size_t i = 0; i < w.input.size(); ++i) maps.push_back(mapOf(w, i));
  return SpatialMap(std::move(maps));
}

double windowCost(const Windows& w, std::span<const View> in, std::span<const View> out) {
  return double(std::max(in[0].size(), out[0].size())) *
         double(std::max<int64_t>(1, product(w.kernel) / std::max<int64_t>(1, product(w.stride))));
}

namespace {

void checkFloat(const std::string& op, const Tensor& x) {
  require(isFloat(x.dtype()), Code::DType, op, ": the input must be of a floating-point dtype; got ", x.dtype(),
          "; convert it with cast()");
}

/// Checks windows that were given to an op directly; `x` has the size of their input or output.
void checkWindows(const std::string& op, const Windows& w, const Tensor& x, const Ints& size) {
  const size_t rank = w.input.size();
  require(rank >= 1 && rank <= 3 && x.rank() == int(rank) + 2 && spatial(x.shape()) == Dims(size), Code::Shape, op,
          ": windows from ", w.input, " to ", w.output, " do not fit ", x.shape());
  for (const Ints* list : {&w.output, &w.kernel, &w.stride, &w.dilation})
    require(list->size() == rank &&
                std::all_of(list->begin(), list->end(), [](int64_t v) { return v >= 1 && v <= INT32_MAX; }),
            Code::Value, op, ": expected ", rank, " numbers of 1 or more; got ", *list);
  require(w.padding.size() == rank, Code::Value, op, ": expected ", rank, " numbers as padding; got ", w.padding);
}

std::vector<Field> windowFields() {
  return {required<&Windows::input>("input", "the spatial size of what windows read"),
          required<&Windows::output>("output", "the number of windows along each axis"),
          required<&Windows::kernel>("kernel", "the most positions of a window along each axis"),
          required<&Windows::stride>("stride", "the step along each axis"),
          required<&Windows::padding>("padding", "positions before each axis"),
          required<&Windows::dilation>("dilation", "the distance between the elements of a window"),
          required<&Windows::adaptive>("adaptive", "windows follow from the sizes alone"),
          required<&Windows::countIncludePad>("countIncludePad", "averages divide by the window's size with padding")};
}

Specs inferTaps(const Args<Windows>& c) {
  const Tensor& x = c.in[0];
  require(x.dtype() != DType::Bool, Code::DType, c.op, ": bool has no order; convert the input with cast()");
  checkWindows(c.op, c.attrs, x, c.attrs.input);
  Shape shape = join(x.size(0), Dims(c.attrs.output), x.size(-1));
  return {{shape, x.dtype()}, {shape, product(c.attrs.kernel) <= 256 ? DType::UInt8 : DType::Int32}};
}

template <bool Spread>
Specs inferWithTaps(const Args<Windows>& c) {
  const Windows& w = c.attrs;
  const Tensor &x = c.in[0], &taps = c.in[1];
  checkFloat(c.op, x);
  checkWindows(c.op, w, x, Spread ? w.output : w.input);
  require(taps.shape() == join(x.size(0), Dims(w.output), x.size(-1)) &&
              taps.dtype() == (product(w.kernel) <= 256 ? DType::UInt8 : DType::Int32),
          Code::Shape, c.op, ": taps ", taps, " do not belong to these windows over ", x.shape());
  return {{join(x.size(0), Dims(Spread ? w.input : w.output), x.size(-1)), x.dtype()}};
}

template <bool Spread>
Specs inferAverage(const Args<Windows>& c) {
  const Tensor& x = c.in[0];
  checkFloat(c.op, x);
  checkWindows(c.op, c.attrs, x, Spread ? c.attrs.output : c.attrs.input);
  return {{join(x.size(0), Dims(Spread ? c.attrs.input : c.attrs.output), x.size(-1)), x.dtype()}};
}

const Implement<Windows> tapsOnCpu("maxPoolTaps", DeviceType::Cpu, [](const Call<Windows>& c) {
  cpu::windowMax(mapOf(c.attrs), c.in[0], c.out[0], c.out[1]);
});
const Implement<Windows> pickOnCpu("maxPoolPick", DeviceType::Cpu, [](const Call<Windows>& c) {
  cpu::pickTaps(mapOf(c.attrs), c.in[0], c.in[1], c.out[0]);
});
const Implement<Windows> spreadOnCpu("maxPoolSpread", DeviceType::Cpu, [](const Call<Windows>& c) {
  cpu::spreadTaps(mapOf(c.attrs).transposed(), c.in[0], c.in[1], c.out[0]);
});
const Implement<Windows> averageOnCpu("averageWindows", DeviceType::Cpu, [](const Call<Windows>& c) {
  cpu::weightedSums(mapOf(c.attrs), c.in[0], c.out[0]);
});
const Implement<Windows> averageSpreadOnCpu("averageSpread", DeviceType::Cpu, [](const Call<Windows>& c) {
  cpu::weightedSums(mapOf(c.attrs).transposed(), c.in[0], c.out[0]);
});

}  // namespace

const Op<Windows> maxPoolTaps(
    {.name = "maxPoolTaps",
     .doc = "The largest value in each window, and its number within the window.",
     .inputs = {"x"},
     .attrs = windowFields(),
     .outputs = {"values", "taps"},
     .infer = inferTaps,
     .vjp = [](const Vjp<Windows>& v) { return Tensors{maxPoolSpread(v.grad(), v.out(1), v.attrs)}; },
     .saves = {.outputs = {1}},
     .internal = true,
     .cost = windowCost});
const Op<Windows> maxPoolPick({.name = "maxPoolPick",
                               .doc = "The elements of `x` numbered by `taps` within their windows.",
                               .inputs = {"x", "taps"},
                               .attrs = windowFields(),
                               .infer = inferWithTaps<false>,
                               .vjp =
                                   [](const Vjp<Windows>& v) {
                                     return Tensors{maxPoolSpread(v.grad(), v.in(1), v.attrs), Tensor()};
                                   },
                               .saves = {.inputs = {1}},
                               .internal = true,
                               .cost = windowCost});
const Op<Windows> maxPoolSpread(
    {.name = "maxPoolSpread",
     .doc = "Each element of `grad` added to the element of its window that `taps` numbers: the gradient of a maximum.",
     .inputs = {"grad", "taps"},
     .attrs = windowFields(),
     .infer = inferWithTaps<true>,
     .vjp =
         [](const Vjp<Windows>& v) {
           return Tensors{maxPoolPick(v.grad(), v.in(1), v.attrs), Tensor()};
         },
     .saves = {.inputs = {1}},
     .internal = true,
     .cost = windowCost});
const Op<Windows> averageWindows({.name = "averageWindows",
                                  .doc = "The average of each window.",
                                  .inputs = {"x"},
                                  .attrs = windowFields(),
                                  .infer = inferAverage<false>,
                                  .vjp =
                                      [](const Vjp<Windows>& v) { return Tensors{averageSpread(v.grad(), v.attrs)}; },
                                  .internal = true,
                                  .cost = windowCost});
const Op<Windows> averageSpread(
    {.name = "averageSpread",
     .doc = "Each element of `grad` divided among the elements of its window: the gradient of an average.",
     .inputs = {"grad"},
     .attrs = windowFields(),
     .infer = inferAverage<true>,
     .vjp = [](const Vjp<Windows>& v) { return Tensors{averageWindows(v.grad(), v.attrs)}; },
     .internal = true,
     .cost = windowCost});

}  // namespace anneal::ops
