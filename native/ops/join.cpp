#include "ops/join.h"

#include "cpu/copy.h"
#include "op/infer.h"
#include "ops/slices.h"
#include "ops/views.h"

namespace anneal::ops {
namespace {

Specs inferConcat(const Args<Join>& c) {
  require(!c.in.empty(), Code::Value, c.op, ": expected at least one tensor");
  Shape shape = c.in[0].shape();
  require(shape.rank() > 0, Code::Shape, c.op, ": scalars have no axis to join along; use stack()");
  int axis = resolveAxis(c.op, c.attrs.axis, shape.rank());
  for (size_t i = 1; i < c.in.size(); ++i) {
    const Shape& s = c.in[i].shape();
    bool fits = s.rank() == shape.rank();
    for (int a = 0; fits && a < s.rank(); ++a) fits = a == axis || s[a] == shape[a];
    require(fits, Code::Shape, c.op, ": shapes must agree but for axis ", axis, ": ", c.in[0].shape(),
            " and, at position ", i, ", ", s);
    shape[axis] += s[axis];
    checkShape(c.op, shape);
  }
  return {{shape, promoted(c.in)}};
}

void concatCpu(const Call<Join>& call) {
  const View& out = call.out[0];
  int axis = resolveAxis("concat", call.attrs.axis, out.shape.rank());
  int64_t start = 0;
  for (const View& v : call.in) {
    cpu::assign(v, cpu::narrow(out, axis, start, v.shape[axis]));
    start += v.shape[axis];
  }
}
const Implement<Join> concatOnCpu("concat", DeviceType::Cpu, concatCpu);

Tensors concatVjp(const Vjp<Join>& v) {
  Tensors grads;
  int64_t start = 0;
  for (size_t i = 0; i < v.inputs(); ++i) {
    int axis = resolveAxis("concat", v.attrs.axis, v.in(i).rank());
    int64_t size = v.in(i).shape()[axis];
    grads.push_back(v.need(i) ? narrow(v.grad(), {.axis = axis, .start = start, .size = size}) : Tensor());
    start += size;
  }
  return grads;
}

Tensors stackLower(const Args<Join>& c) {
  require(!c.in.empty(), Code::Value, c.op, ": expected at least one tensor");
  int axis = resolveAxis(c.op, c.attrs.axis, c.in[0].rank() + 1);
  Tensors rows;
  for (size_t i = 0; i < c.in.size(); ++i) {
    require(c.in[i].shape() == c.in[0].shape(), Code::Shape, c.op, ": shapes must be equal: ", c.in[0].shape(),
            " and, at position ", i, ", ", c.in[i].shape());
    rows.push_back(expandDims(c.in[i], {.axis = axis}));
  }
  return {concat(rows, {.axis = axis})};
}

Specs inferPad(const Args<PadConstant>& c) {
  Shape shape = c.in[0].shape();
  for (int i = 0; i < shape.rank(); ++i) {
    shape[i] += c.attrs.padding[size_t(2 * i)] + c.attrs.padding[size_t(2 * i + 1)];
    require(shape[i] >= 0, Code::Shape, "pad: the padding ", c.attrs.padding, " leaves axis ", i, " of ",
            c.in[0].shape(), " with a negative size");
  }
  return {{shape, c.in[0].dtype()}};
}

void padCpu(const Call<PadConstant>& call) {
  View from = call.in[0], to = call.out[0];
  // Axis by axis: the margins are filled, then what lies between is narrowed to, so that no element is written twice.
  for (int i = 0; i < from.shape.rank(); ++i) {
    int64_t before = call.attrs.padding[size_t(2 * i)], cut = std::max<int64_t>(0, -before),
            start = std::max<int64_t>(0, before);
    int64_t kept = std::max<int64_t>(0, std::min(from.shape[i] - cut, to.shape[i] - start));
    start = std::min(start, to.shape[i]);
    cpu::fill(cpu::narrow(to, i, 0, start), call.attrs.value);
    cpu::fill(cpu::narrow(to, i, start + kept, to.shape[i] - start - kept), call.attrs.value);
    to = cpu::narrow(to, i, start, kept);
    from = cpu::narrow(from, i, cut, kept);
  }
  cpu::copy(from, to);
}
const Implement<PadConstant> padOnCpu("padConstant", DeviceType::Cpu, padCpu);

Tensor flipped(const Tensor& x, int axis, int64_t start, int64_t size) {
  return flip(narrow(x, {.axis = axis, .start = start, .size = size}), {.axis = Ints{axis}});
}

Tensor edge(const Tensor& x, int axis, int64_t at, int64_t size) {
  Shape shape = x.shape();
  shape[axis] = size;
  return broadcastTo(narrow(x, {.axis = axis, .start = at, .size = 1}), {.shape = shape.ints()});
}

Tensor padAxis(const Args<Pad>& c, const Tensor& x, int axis, int64_t before, int64_t after) {
  int64_t size = x.shape()[axis];
  int64_t most = c.attrs.mode == PadMode::Reflect ? size - 1 : (c.attrs.mode == PadMode::Circular ? size : INT64_MAX);
  require(before >= 0 && after >= 0, Code::Value, c.op, ": only the mode 'constant' takes negative padding; got ",
          c.attrs.padding);
  require(size > 0 && before <= most && after <= most, Code::Shape, c.op, ": the padding [", before, ",", after,
          "] is too large for axis ", axis, " of ", x.shape(), " in this mode");
  Tensors parts;
  auto add = [&](int64_t n, auto&& make) {
    if (n > 0) parts.push_back(make());
  };
  switch (c.attrs.mode) {
    case PadMode::Reflect:
      add(before, [&] { return flipped(x, axis, 1, before); });
      parts.push_back(x);
      add(after, [&] { return flipped(x, axis, size - 1 - after, after); });
      break;
    case PadMode::Edge:
      add(before, [&] { return edge(x, axis, 0, before); });
      parts.push_back(x);
      add(after, [&] { return edge(x, axis, size - 1, after); });
      break;
    default:
      add(before, [&] { return narrow(x, {.axis = axis, .start = size - before, .size = before}); });
      parts.push_back(x);
      add(after, [&] { return narrow(x, {.axis = axis, .start = 0, .size = after}); });
  }
  return concat(parts, {.axis = axis});
}

Tensors padLower(const Args<Pad>& c) {
  Tensor x = c.in[0];
  require(int(c.attrs.padding.size()) == 2 * x.rank(), Code::Shape, c.op, ": ", x.shape(), " needs ", 2 * x.rank(),
          " numbers, before and after for each axis; got ", c.attrs.padding);
  if (c.attrs.mode == PadMode::Constant) return {padConstant(x, {.padding = c.attrs.padding, .value = c.attrs.value})};
  for (int i = 0; i < x.rank(); ++i) {
    int64_t before = c.attrs.padding[size_t(2 * i)], after = c.attrs.padding[size_t(2 * i + 1)];
    if (before != 0 || after != 0) x = padAxis(c, x, i, before, after);
  }
  return {x};
}

Tensor rollAxis(const Tensor& x, int axis, int64_t shift) {
  int64_t size = x.shape()[axis];
  if (size == 0) return x;
  shift = (shift % size + size) % size;
  if (shift == 0) return x;
  return concat({narrow(x, {.axis = axis, .start = size - shift, .size = shift}),
                 narrow(x, {.axis = axis, .start = 0, .size = size - shift})},
                {.axis = axis});
}

Tensors rollLower(const Args<Roll>& c) {
  Tensor x = c.in[0];
  size_t shifts = c.attrs.shifts.size();
  if (!c.attrs.axis) {
    require(shifts == 1, Code::Value, c.op, ": without an axis there is one shift, over all elements; got ",
            c.attrs.shifts);
    Tensor flat = reshape(x, {.shape = {-1}});
    return {reshape(rollAxis(flat, 0, c.attrs.shifts[0]), {.shape = x.shape().ints()})};
  }
  require(c.attrs.axis->size() == shifts, Code::Value, c.op, ": expected a shift for each axis; got ", c.attrs.shifts,
          " for the axes ", *c.attrs.axis);
  for (size_t i = 0; i < shifts; ++i)
    x = rollAxis(x, resolveAxis(c.op, (*c.attrs.axis)[i], x.rank()), c.attrs.shifts[i]);
  return {x};
}

/// The shape with `count` times as much along an axis.
Shape multiplied(const std::string& op, Shape shape, int axis, int64_t count) {
  require(count >= 0, Code::Value, op, ": expected a count of 0 or more; got ", count);
  require(count == 0 || shape[axis] <= (int64_t(1) << 60) / count, Code::Shape, op, ": ", count, " times axis ", axis,
          " of ", shape, " has too many elements");
  shape[axis] *= count;
  checkShape(op, shape);
  return shape;
}

/// Each run of `run` elements, `count` times over, in the shape `to`.
Tensor repeatRuns(const Tensor& x, int64_t run, int64_t count, const Shape& to) {
  int64_t runs = run == 0 ? 0 : x.size() / run;
  Tensor y = reshape(x, {.shape = {runs, 1, run}});
  return reshape(broadcastTo(y, {.shape = {runs, count, run}}), {.shape = to.ints()});
}

Tensors tileLower(const Args<Tile>& c) {
  Tensor x = c.in[0];
  Ints repeats = c.attrs.repeats, shape = x.shape().ints();
  while (repeats.size() < shape.size()) repeats.insert(repeats.begin(), 1);
  while (shape.size() < repeats.size()) shape.insert(shape.begin(), 1);
  x = reshape(x, {.shape = shape});
  for (int i = int(repeats.size()) - 1; i >= 0; --i) {
    if (repeats[size_t(i)] == 1) continue;
    int64_t run = x.shape().slice(i, x.rank()).product();
    x = repeatRuns(x, run, repeats[size_t(i)], multiplied(c.op, x.shape(), i, repeats[size_t(i)]));
  }
  return {x};
}

Tensors repeatLower(const Args<Repeat>& c) {
  Tensor x = c.attrs.axis ? c.in[0] : reshape(c.in[0], {.shape = {-1}});
  int axis = resolveAxis(c.op, c.attrs.axis.value_or(0), x.rank());
  int64_t run = x.shape().slice(axis + 1, x.rank()).product();
  return {repeatRuns(x, run, c.attrs.count, multiplied(c.op, x.shape(), axis, c.attrs.count))};
}

Tensors meshLower(const Args<Meshgrid>& c) {
  bool xy = c.attrs.indexing == MeshIndexing::Xy && c.in.size() > 1;
  Shape shape;
  for (const Tensor& t : c.in) {
    require(t.rank() <= 1, Code::Shape, c.op, ": expected tensors with one axis; got ", t.shape());
    shape.push(t.size());
  }
  if (xy) std::swap(shape[0], shape[1]);
  Tensors out;
  for (int i = 0; i < int(c.in.size()); ++i) {
    Shape own = Dims::filled(shape.rank(), 1);
    own[xy && i < 2 ? 1 - i : i] = c.in[size_t(i)].size();
    out.push_back(broadcastTo(reshape(c.in[size_t(i)], {.shape = own.ints()}), {.shape = shape.ints()}));
  }
  return out;
}

}  // namespace

const Op<Join> concat(
    {.name = "concat",
     .doc = "The tensors one after the other along `axis`; their shapes agree in all other axes. Dtypes are promoted.",
     .inputs = {"tensors..."},
     .attrs = {field<&Join::axis>("axis", "the axis to join along; negative ones count from the end")},
     .infer = inferConcat,
     .vjp = concatVjp,
     .anyStrides = true});

const Op<Join> stack(
    {.name = "stack",
     .doc = "Tensors of one shape along a new axis.",
     .inputs = {"tensors..."},
     .attrs = {field<&Join::axis>("axis", "the place of the new axis; negative ones count from the end of the result")},
     .lower = stackLower});

const Op<Pad> pad(
    {.name = "pad",
     .doc =
         "`x` with margins: `value` ('constant'), the elements mirrored without repeating the edge ('reflect'), the "
         "edge "
         "repeated ('edge'), or the elements of the other side ('circular'). Negative padding crops ('constant' only).",
     .inputs = {"x"},
     .attrs = {required<&Pad::padding>("padding",
                                       "for each axis, the elements before and after: [before0, after0, before1, ...]"),
               field<&Pad::mode>("mode", "what the margins hold", {"constant", "reflect", "edge", "circular"}),
               field<&Pad::value>("value", "the value of 'constant' margins")},
     .lower = padLower});

const Op<PadConstant> padConstant(
    {.name = "padConstant",
     .doc = "`x` with margins of one value; negative padding crops.",
     .inputs = {"x"},
     .attrs = {required<&PadConstant::padding>("padding", "for each axis, the elements before and after"),
               required<&PadConstant::value>("value", "the value of the margins")},
     .infer = inferPad,
     .vjp =
         [](const Vjp<PadConstant>& v) {
           Ints padding = v.attrs.padding;
           for (int64_t& p : padding) p = -p;
           return Tensors{padConstant(v.grad(), {.padding = padding})};
         },
     .internal = true,
     .anyStrides = true});

const Op<Roll> roll(
    {.name = "roll",
     .doc = "`x` with its elements moved by `shifts` along `axis`; those pushed over the end come in at the start.",
     .inputs = {"x"},
     .attrs = {required<&Roll::shifts>("shifts", "for each axis, by how many places"),
               field<&Roll::axis>("axis", "the axes; when absent the elements move in row-major order")},
     .lower = rollLower});

const Op<Tile> tile(
    {.name = "tile",
     .doc = "`x` laid side by side: `repeats` copies along each axis. Missing leading axes or repeats count as 1.",
     .inputs = {"x"},
     .attrs = {required<&Tile::repeats>("repeats", "for each axis, the number of copies")},
     .lower = tileLower});

const Op<Repeat> repeat(
    {.name = "repeat",
     .doc = "`x` with each element repeated `count` times along `axis`.",
     .inputs = {"x"},
     .attrs = {required<&Repeat::count>("count", "how often"),
               field<&Repeat::axis>("axis",
                                    "the axis; when absent the elements are taken in row-major order, with one axis")},
     .lower = repeatLower});

const Op<Meshgrid> meshgrid(
    {.name = "meshgrid",
     .doc = "Coordinates of a grid: for tensors of lengths n0, n1, ... as many tensors of shape [n0, n1, ...], the "
            "i-th changing along axis i only.",
     .inputs = {"tensors..."},
     .attrs = {field<&Meshgrid::indexing>("indexing", "'xy' swaps the first two axes of the results", {"ij", "xy"})},
     .outputs = {"grids..."},
     .lower = meshLower});

}  // namespace anneal::ops
