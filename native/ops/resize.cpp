#include "ops/resize.h"

#include <cmath>

#include "cpu/spatial.h"
#include "ops/spatial.h"

namespace anneal::ops {
namespace {

using cpu::AxisMap;
using cpu::SpatialMap;

/// The input's step for one of the output, computed in T as PyTorch does.
template <class T>
T stepOf(const Resample& r, size_t axis) {
  const int64_t in = r.input[axis], out = r.output[axis];
  if (r.alignCorners) return out > 1 ? T(in - 1) / T(out - 1) : T(0);
  return r.scale.empty() ? T(in) / T(out) : T(1 / r.scale[axis]);
}

AxisMap nearestMap(const Resample& r, size_t axis) {
  const int64_t in = r.input[axis], out = r.output[axis];
  AxisMap map{.inputs = in};
  const float step = stepOf<float>(r, axis);
  for (int64_t o = 0; o < out; ++o) {
    const int64_t at = out == in ? o : (out == 2 * in ? o / 2 : std::min(int64_t(std::floor(float(o) * step)), in - 1));
    map.entries.push_back({at, 0, 1});
    map.close();
  }
  return map;
}

/// The position in the input whose centre (or, with alignCorners, whose share of the distance between the ends) is that
/// of an output position, between its two neighbours.
template <class T>
AxisMap linearMap(const Resample& r, size_t axis) {
  const int64_t in = r.input[axis], out = r.output[axis];
  AxisMap map{.inputs = in, .taps = 2};
  const T step = stepOf<T>(r, axis);
  for (int64_t o = 0; o < out; ++o) {
    const T place = out == in ? T(o) : (r.alignCorners ? step * T(o) : std::max(T(0), step * (T(o) + T(0.5)) - T(0.5)));
    const int64_t low = std::min(int64_t(place), in - 1), high = std::min(low + 1, in - 1);
    const T share = std::min(std::max(place - T(low), T(0)), T(1));
    map.entries.push_back({low, 0, double(T(1) - share)});
    map.entries.push_back({high, 1, double(share)});
    map.close();
  }
  return map;
}

SpatialMap mapOf(const Resample& r, DType dtype) {
  std::vector<AxisMap> maps;
  for (size_t i = 0; i < r.input.size(); ++i)
    maps.push_back(r.nearest ? nearestMap(r, i)
                             : (dtype == DType::Float64 ? linearMap<double>(r, i) : linearMap<float>(r, i)));
  return SpatialMap(std::move(maps));
}

Ints scaledSize(const std::string& op, const std::vector<double>& scale, const Dims& in) {
  Ints size;
  for (int i = 0; i < in.rank(); ++i) {
    const double out = std::floor(double(in[i]) * scale[size_t(i)]);
    require(out >= 1 && out <= INT32_MAX, Code::Value, op, ": scale ", scale, " makes the size ", out, " of ", in[i],
            "; the result needs 1 or more");
    size.push_back(int64_t(out));
  }
  return size;
}

Resample resampleOf(const std::string& op, const Resize& a, const Shape& x) {
  require(x.rank() >= 3 && x.rank() <= 5, Code::Shape, op,
          ": the input must have the axes [batch, one to three spatial axes, channels]; got ", x);
  const int rank = x.rank() - 2;
  const Dims in = spatial(x);
  require(a.mode == ResizeMode::Nearest || a.mode == ResizeMode::Linear || int(a.mode) == rank, Code::Value, op,
          ": mode '", a.mode == ResizeMode::Bilinear ? "bilinear" : "trilinear", "' does not fit an input with ", rank,
          " spatial axes; 'linear' fits all");
  require(!a.alignCorners || a.mode != ResizeMode::Nearest, Code::Value, op, ": alignCorners needs a linear mode");
  require(a.size.empty() != a.scale.empty(), Code::Value, op, ": give either size or scale");
  require(in.product() > 0, Code::Shape, op, ": the input ", x, " has an empty spatial axis");
  Resample r{.input = in.ints(), .nearest = a.mode == ResizeMode::Nearest, .alignCorners = a.alignCorners};
  if (a.scale.empty()) {
    r.output = perAxis(op, "size", a.size, rank, 1).ints();
  } else {
    require(a.scale.size() == 1 || int(a.scale.size()) == rank, Code::Value, op,
            ": scale needs one number, or one for each of the ", rank, " spatial axes; got ", a.scale);
    r.scale = a.scale.size() == 1 ? std::vector<double>(size_t(rank), a.scale[0]) : a.scale;
    r.output = scaledSize(op, r.scale, in);
  }
  return r;
}

template <bool Gradient>
Specs inferResample(const Args<Resample>& c) {
  const Resample& r = c.attrs;
  const Tensor& x = c.in[0];
  const size_t rank = r.input.size();
  require(isFloat(x.dtype()), Code::DType, c.op, ": the input must be of a floating-point dtype; got ", x.dtype(),
          "; convert it with cast()");
  require(rank >= 1 && rank <= 3 && r.output.size() == rank && (r.scale.empty() || r.scale.size() == rank), Code::Value,
          c.op, ": sizes and scale need one number for each spatial axis; got ", r.input, ", ", r.output, " and ",
          r.scale);
  require(x.rank() == int(rank) + 2 && spatial(x.shape()) == Dims(Gradient ? r.output : r.input), Code::Shape, c.op,
          ": sizes ", r.input, " to ", r.output, " do not fit ", x.shape());
  for (size_t i = 0; i < rank; ++i)
    require(r.input[i] >= 1 && r.output[i] >= 1 && (r.scale.empty() || r.scale[i] > 0), Code::Value, c.op,
            ": sizes and scale must be positive; got ", r.input, ", ", r.output, " and ", r.scale);
  return {{join(x.size(0), Dims(Gradient ? r.input : r.output), x.size(-1)), x.dtype()}};
}

const Implement<Resample> resampleOnCpu("resample", DeviceType::Cpu, [](const Call<Resample>& c) {
  cpu::weightedSums(mapOf(c.attrs, c.in[0].dtype), c.in[0], c.out[0]);
});
const Implement<Resample> gradientOnCpu("resampleGradient", DeviceType::Cpu, [](const Call<Resample>& c) {
  cpu::weightedSums(mapOf(c.attrs, c.in[0].dtype).transposed(), c.in[0], c.out[0]);
});

std::vector<Field> resampleFields() {
  return {required<&Resample::input>("input", "the spatial size of the input"),
          required<&Resample::output>("output", "the spatial size of the result"),
          required<&Resample::scale>("scale", "the factor along each axis; empty where it follows from the sizes"),
          required<&Resample::nearest>("nearest", "take the nearest element instead of interpolating"),
          required<&Resample::alignCorners>("alignCorners", "map first to first and last to last elements")};
}

double resampleCost(const Resample&, std::span<const View> in, std::span<const View> out) {
  return double(in[0].size() + 4 * out[0].size());
}

}  // namespace

const Op<Resize> resize(
    {.name = "resize",
     .doc = "`x` [batch, one to three spatial axes, channels] at another spatial size, given by `size` or by `scale` "
            "(rounded down). 'nearest' takes elements, the linear modes interpolate along every axis; defined as "
            "PyTorch's "
            "`interpolate` without antialiasing.",
     .inputs = {"x"},
     .attrs = {field<&Resize::size>("size", "the sizes of the result, for all axes or for each"),
               field<&Resize::scale>("scale", "the factors, for all axes or for each; instead of `size`"),
               field<&Resize::mode>("mode",
                                    "how values are found; 'bilinear' is 'linear' for two axes, 'trilinear' for three",
                                    {"nearest", "linear", "bilinear", "trilinear"}),
               field<&Resize::alignCorners>("alignCorners",
                                            "map first to first and last to last elements, in linear modes")},
     .lower = [](const Args<Resize>& c) {
       return Tensors{resample(c.in[0], resampleOf(c.op, c.attrs, c.in[0].shape()))};
     }});

const Op<Resample> resample({.name = "resample",
                             .doc = "`x` interpolated at another spatial size.",
                             .inputs = {"x"},
                             .attrs = resampleFields(),
                             .infer = inferResample<false>,
                             .vjp = [](const Vjp<Resample>& v) { return Tensors{resampleGradient(v.grad(), v.attrs)}; },
                             .internal = true,
                             .cost = resampleCost});

const Op<Resample> resampleGradient({.name = "resampleGradient",
                                     .doc = "The gradient of `resample` with respect to its input.",
                                     .inputs = {"grad"},
                                     .attrs = resampleFields(),
                                     .infer = inferResample<true>,
                                     .vjp = [](const Vjp<Resample>& v) { return Tensors{resample(v.grad(), v.attrs)}; },
                                     .internal = true,
                                     .cost = resampleCost});

}  // namespace anneal::ops
