#include "ops/pool_windows.h"
#include "ops/spatial.h"
#include "ops/views.h"

namespace anneal::ops {
namespace {

/// As in PyTorch: with ceilMode a last window may reach over the end, but must start inside the input or its left
/// padding.
int64_t outputSize(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation, bool ceilMode) {
  const int64_t free = in + 2 * padding - dilation * (kernel - 1) - 1;
  int64_t out = (free + (ceilMode ? stride - 1 : 0)) / stride + 1;
  if (ceilMode && (out - 1) * stride >= in + padding) --out;
  return out;
}

Windows windowsOf(const std::string& op, const MaxPool& a, bool countIncludePad, const Shape& x, int rank) {
  checkImages(op, x, rank);
  const Dims in = spatial(x), kernel = perAxis(op, "kernel", a.kernel, rank, 1);
  const Dims stride = a.stride.empty() ? kernel : perAxis(op, "stride", a.stride, rank, 1);
  const Dims padding = perAxis(op, "padding", a.padding, rank, 0),
             dilation = perAxis(op, "dilation", a.dilation, rank, 1);
  Windows w{.input = in.ints(),
            .kernel = kernel.ints(),
            .stride = stride.ints(),
            .padding = padding.ints(),
            .dilation = dilation.ints(),
            .countIncludePad = countIncludePad};
  for (int i = 0; i < rank; ++i) {
    const int64_t span = dilation[i] * (kernel[i] - 1) + 1;
    require(padding[i] <= span / 2, Code::Value, op, ": padding may be at most half of the window: the padding is ",
            padding, ", the kernel ", kernel);
    require(in[i] >= 1 && span <= in[i] + 2 * padding[i], Code::Shape, op, ": the window ", kernel, " with dilation ",
            dilation, " is larger than the input ", in, " with padding ", padding);
    w.output.push_back(outputSize(in[i], kernel[i], stride[i], padding[i], dilation[i], a.ceilMode));
  }
  return w;
}

Windows adaptiveWindows(const std::string& op, const Ints& size, const Shape& x, int rank) {
  checkImages(op, x, rank);
  const Dims in = spatial(x), out = perAxis(op, "size", size, rank, 1), ones = Dims::filled(rank, 1);
  Windows w{.input = in.ints(),
            .output = out.ints(),
            .stride = ones.ints(),
            .padding = Ints(size_t(rank), 0),
            .dilation = ones.ints(),
            .adaptive = true};
  for (int i = 0; i < rank; ++i) {
    require(in[i] >= 1, Code::Shape, op, ": the input ", x, " has an empty spatial axis");
    int64_t widest = 1;
    for (int64_t o = 0; o < out[i]; ++o)
      widest = std::max(widest, ((o + 1) * in[i] + out[i] - 1) / out[i] - o * in[i] / out[i]);
    w.kernel.push_back(widest);
  }
  return w;
}

template <int Rank>
Windows maxWindows(const std::string& op, const MaxPool& a, const Shape& x) {
  return windowsOf(op, a, true, x, Rank);
}

template <class A, Windows (*Resolve)(const std::string&, const A&, const Shape&)>
Specs inferMax(const Args<A>& c) {
  const Tensor& x = c.in[0];
  require(x.dtype() != DType::Bool, Code::DType, c.op, ": bool has no order; convert the input with cast()");
  Windows w = Resolve(c.op, c.attrs, x.shape());
  return {{join(x.size(0), Dims(w.output), x.size(-1)), x.dtype()}};
}

/// With a gradient to come, the places of the maxima are kept.
template <class A, Windows (*Resolve)(const std::string&, const A&, const Shape&)>
Tensors lowerMax(const Args<A>& c) {
  return {maxPoolTaps(c.in[0], Resolve(c.op, c.attrs, c.in[0].shape()))};
}

template <class A, Windows (*Resolve)(const std::string&, const A&, const Shape&)>
void maxCpu(const Call<A>& call) {
  const cpu::SpatialMap map = mapOf(Resolve("pool", call.attrs, call.in[0].shape));
  cpu::windowMax(map, call.in[0], call.out[0], View{.defined = false});
}

template <class A, Windows (*Resolve)(const std::string&, const A&, const Shape&)>
double maxCost(const A& a, std::span<const View> in, std::span<const View> out) {
  return windowCost(Resolve("pool", a, in[0].shape), in, out);
}

const std::string kSizes = "A size L becomes floor((L + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1.";

template <int Rank>
Op<MaxPool> makeMax() {
  const std::string name = "maxPool" + std::to_string(Rank) + "d";
  Implement<MaxPool>(name, DeviceType::Cpu, maxCpu<MaxPool, maxWindows<Rank>>);
  return Op<MaxPool>(
      {.name = name,
       .doc = "The largest value in each window of `x` [batch, " + axisNames(Rank) +
              ", channels]; NaN counts as largest. " + kSizes,
       .inputs = {"x"},
       .attrs = {required<&MaxPool::kernel>("kernel", "the size of the window, for all axes or for each"),
                 field<&MaxPool::stride>("stride", "the step of the window; that of its size when empty"),
                 field<&MaxPool::padding>(
                     "padding", "positions added at both ends that never are the largest; at most half of the window"),
                 field<&MaxPool::dilation>("dilation", "the distance between the elements of a window"),
                 field<&MaxPool::ceilMode>("ceilMode", "round sizes up, so that a last window may reach over the end")},
       .infer = inferMax<MaxPool, maxWindows<Rank>>,
       .lower = lowerMax<MaxPool, maxWindows<Rank>>,
       .cost = maxCost<MaxPool, maxWindows<Rank>>});
}

template <int Rank>
Op<AveragePool> makeAverage() {
  return Op<AveragePool>(
      {.name = "averagePool" + std::to_string(Rank) + "d",
       .doc = "The average of each window of `x` [batch, " + axisNames(Rank) + ", channels]. " + kSizes,
       .inputs = {"x"},
       .attrs = {required<&AveragePool::kernel>("kernel", "the size of the window, for all axes or for each"),
                 field<&AveragePool::stride>("stride", "the step of the window; that of its size when empty"),
                 field<&AveragePool::padding>("padding", "zeros added at both ends; at most half of the window"),
                 field<&AveragePool::ceilMode>("ceilMode",
                                               "round sizes up, so that a last window may reach over the end"),
                 field<&AveragePool::countIncludePad>(
                     "countIncludePad",
                     "divide by the window's size with padding, not by what it covers of the input")},
       .lower = [](const Args<AveragePool>& c) {
         MaxPool a{.kernel = c.attrs.kernel,
                   .stride = c.attrs.stride,
                   .padding = c.attrs.padding,
                   .ceilMode = c.attrs.ceilMode};
         return Tensors{averageWindows(c.in[0], windowsOf(c.op, a, c.attrs.countIncludePad, c.in[0].shape(), Rank))};
       }});
}

std::vector<Field> adaptiveFields() {
  return {required<&AdaptivePool::size>("size", "the sizes of the result, for all axes or for each")};
}

template <int Rank>
Windows adaptiveMaxWindows(const std::string& op, const AdaptivePool& a, const Shape& x) {
  return adaptiveWindows(op, a.size, x, Rank);
}

template <int Rank>
Op<AdaptivePool> makeAdaptiveMax() {
  const std::string name = "adaptiveMaxPool" + std::to_string(Rank) + "d";
  Implement<AdaptivePool>(name, DeviceType::Cpu, maxCpu<AdaptivePool, adaptiveMaxWindows<Rank>>);
  return Op<AdaptivePool>({.name = name,
                           .doc = "The largest values of `x` [batch, " + axisNames(Rank) +
                                  ", channels] in windows chosen so that the result has the given size: window i "
                                  "covers floor(i * L / size) to "
                                  "ceil((i + 1) * L / size) of an axis of size L.",
                           .inputs = {"x"},
                           .attrs = adaptiveFields(),
                           .infer = inferMax<AdaptivePool, adaptiveMaxWindows<Rank>>,
                           .lower = lowerMax<AdaptivePool, adaptiveMaxWindows<Rank>>,
                           .cost = maxCost<AdaptivePool, adaptiveMaxWindows<Rank>>});
}

template <int Rank>
Op<AdaptivePool> makeAdaptiveAverage() {
  return Op<AdaptivePool>({.name = "adaptiveAveragePool" + std::to_string(Rank) + "d",
                           .doc = "The averages of `x` [batch, " + axisNames(Rank) +
                                  ", channels] over windows chosen so that the result has the given size: window i "
                                  "covers floor(i * L / size) to "
                                  "ceil((i + 1) * L / size) of an axis of size L.",
                           .inputs = {"x"},
                           .attrs = adaptiveFields(),
                           .lower = [](const Args<AdaptivePool>& c) {
                             return Tensors{
                                 averageWindows(c.in[0], adaptiveWindows(c.op, c.attrs.size, c.in[0].shape(), Rank))};
                           }});
}

}  // namespace

const Op<MaxPool> maxPool1d = makeMax<1>(), maxPool2d = makeMax<2>(), maxPool3d = makeMax<3>();
const Op<AveragePool> averagePool1d = makeAverage<1>(), averagePool2d = makeAverage<2>(),
                      averagePool3d = makeAverage<3>();
const Op<AdaptivePool> adaptiveAveragePool1d = makeAdaptiveAverage<1>(),
                       adaptiveAveragePool2d = makeAdaptiveAverage<2>(),
                       adaptiveAveragePool3d = makeAdaptiveAverage<3>();
const Op<AdaptivePool> adaptiveMaxPool1d = makeAdaptiveMax<1>(), adaptiveMaxPool2d = makeAdaptiveMax<2>(),
                       adaptiveMaxPool3d = makeAdaptiveMax<3>();

namespace {

template <bool Max>
Tensors lowerGlobal(const Args<GlobalPool>& c) {
  const Tensor& x = c.in[0];
  require(x.rank() >= 3 && x.rank() <= 5, Code::Shape, c.op,
          ": the input must have the axes [batch, one to three spatial axes, channels]; got ", x.shape());
  const int rank = x.rank() - 2;
  const AdaptivePool one{.size = {1}};
  const auto& pool =
      Max ? (rank == 1 ? adaptiveMaxPool1d : (rank == 2 ? adaptiveMaxPool2d : adaptiveMaxPool3d))
          : (rank == 1 ? adaptiveAveragePool1d : (rank == 2 ? adaptiveAveragePool2d : adaptiveAveragePool3d));
  Tensor y = pool(x, one);
  return {c.attrs.keepDims ? y : reshape(y, {.shape = {x.size(0), x.size(-1)}})};
}

std::vector<Field> globalFields() {
  return {field<&GlobalPool::keepDims>("keepDims", "keep the spatial axes with size 1")};
}

}  // namespace

const Op<GlobalPool> globalAveragePool(
    {.name = "globalAveragePool",
     .doc = "The average of `x` [batch, spatial axes, channels] over its one to three spatial axes: [batch, channels].",
     .inputs = {"x"},
     .attrs = globalFields(),
     .lower = lowerGlobal<false>});
const Op<GlobalPool> globalMaxPool({.name = "globalMaxPool",
                                    .doc = "The largest values of `x` [batch, spatial axes, channels] over its one to "
                                           "three spatial axes: [batch, channels].",
                                    .inputs = {"x"},
                                    .attrs = globalFields(),
                                    .lower = lowerGlobal<true>});

}  // namespace anneal::ops
