#include "ops/slices.h"

#include <algorithm>

#include "cpu/copy.h"
#include "op/infer.h"
#include "ops/join.h"
#include "ops/views.h"
#include "runtime/context.h"

namespace anneal::ops {
namespace {

/// Where the elements of a view lie in its tensor: built axis by axis, then applied to the tensor's own strides (to
/// share its memory) or to row-major ones (to place the gradient).
struct Places {
  Shape shape;
  Strides strides;
  int64_t offset;

  Places(const Shape& s, const Strides& t, int64_t o = 0) : shape(s), strides(t), offset(o) {}

  void slice(int axis, int64_t start, int64_t count, int64_t step) {
    if (count > 0) offset += start * strides[axis];
    shape[axis] = count;
    strides[axis] *= step;
  }
};

Tensor share(const Tensor& x, const Places& p) { return x.alias(p.shape, p.strides, p.offset); }
Places placesIn(const Tensor& x) { return {x.shape(), x.strides(), x.impl()->offset}; }

/// The gradient of a view: `change` is what made the view's places from those of the whole.
template <class Change>
Tensors placed(const Tensor& grad, const Shape& whole, Change&& change) {
  Places p(whole, contiguousStrides(whole));
  change(p);
  return {stridedGrad(grad, {.shape = whole.ints(), .strides = p.strides.ints(), .offset = p.offset})};
}

int64_t resolveBound(int64_t bound, int64_t size, int64_t low, int64_t high) {
  return std::clamp(bound < 0 ? std::max(bound, -size - 1) + size : bound, low, high);
}

void applySlice(const std::string& op, const Slice& s, Places& p) {
  size_t count = s.starts.size();
  require(s.ends.size() == count && (!s.steps || s.steps->size() == count) && (!s.axes || s.axes->size() == count),
          Code::Value, op, ": starts, ends, steps and axes must be equally long; got ", count, " starts and ",
          s.ends.size(), " ends");
  require(int64_t(count) <= p.shape.rank(), Code::Shape, op, ": ", count, " slices for a tensor with ", p.shape.rank(),
          " axes");
  if (s.axes) reductionAxes(op, s.axes, p.shape.rank());
  for (size_t i = 0; i < count; ++i) {
    int axis = s.axes ? resolveAxis(op, (*s.axes)[i], p.shape.rank()) : int(i);
    int64_t size = p.shape[axis], step = s.steps ? (*s.steps)[i] : 1;
    require(step != 0, Code::Value, op, ": the step of axis ", axis, " is 0; expected a positive or negative number");
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    int64_t start = resolveBound(s.starts[i], size, low, high), end = resolveBound(s.ends[i], size, low, high);
    int64_t n = step > 0 ? (end - start + step - 1) / step : (start - end - step - 1) / -step;
    if (step > 0 ? end <= start : start <= end) n = 0;
    p.slice(axis, start, n, n > 1 ? step : 1);
  }
}

void applyNarrow(const std::string& op, const Narrow& n, Places& p) {
  int axis = resolveAxis(op, n.axis, p.shape.rank());
  int64_t size = p.shape[axis], start = n.start < 0 ? n.start + size : n.start;
  require(start >= 0 && n.size >= 0 && start <= size && n.size <= size - start, Code::Index, op, ": ", n.size,
          " elements from ", n.start, " on are not inside axis ", axis, " of ", p.shape);
  p.slice(axis, start, n.size, 1);
}

void applyFlip(const std::string& op, const Flip& f, Places& p) {
  for (int64_t axis : reductionAxes(op, f.axis, p.shape.rank())) {
    int64_t n = p.shape[int(axis)];
    if (n > 1) p.slice(int(axis), n - 1, n, -1);
  }
}

void applyDiagonal(const std::string& op, const Diagonal& d, Places& p) {
  int a = resolveAxis(op, d.axisA, p.shape.rank()), b = resolveAxis(op, d.axisB, p.shape.rank());
  require(a != b, Code::Value, op, ": axisA and axisB are the same axis, ", a);
  int64_t rows = p.shape[a], columns = p.shape[b];
  int64_t row = std::clamp<int64_t>(-d.offset, 0, rows), column = std::clamp<int64_t>(d.offset, 0, columns);
  int64_t n = std::min(rows - row, columns - column), stride = p.strides[a] + p.strides[b];
  if (n > 0) p.offset += row * p.strides[a] + column * p.strides[b];
  for (int axis : {std::max(a, b), std::min(a, b)}) {
    p.shape.erase(axis);
    p.strides.erase(axis);
  }
  p.shape.push(n);
  p.strides.push(stride);
}

/// The view and gradient of an op whose attributes change places through `Apply`.
template <class A, auto Apply>
Tensor placesView(const Args<A>& c) {
  Places p = placesIn(c.in[0]);
  Apply(c.op, c.attrs, p);
  return share(c.in[0], p);
}
template <class A, auto Apply>
Tensors placesGrad(const Vjp<A>& v) {
  return placed(v.grad(), v.in().shape(), [&](Places& p) { Apply("gradient", v.attrs, p); });
}

void stridedGradCpu(const Call<Strided>& call) {
  cpu::fill(call.out[0], 0);
  const View& grad = call.in[0];
  cpu::copy(grad, cpu::part(call.out[0], grad.shape, Strides(call.attrs.strides), call.attrs.offset));
}
const Implement<Strided> stridedGradOnCpu("stridedGrad", DeviceType::Cpu, stridedGradCpu);

Ints partSizes(const Args<Split>& c, int64_t size) {
  Ints sizes = c.attrs.sizes;
  require(!sizes.empty(), Code::Value, c.op, ": sizes is empty; expected a size for each part");
  if (sizes.size() == 1) {
    int64_t each = sizes[0];
    require(each > 0, Code::Value, c.op, ": the size of a part must be 1 or more; got ", each);
    sizes.assign(size_t(std::max<int64_t>(1, (size + each - 1) / each)), each);
    sizes.back() = size - each * int64_t(sizes.size() - 1);
  }
  int64_t total = 0;
  for (int64_t s : sizes) {
    require(s >= 0 && s <= size, Code::Shape, c.op, ": a part of ", s, " elements does not fit an axis of ", size);
    total += s;
  }
  require(total == size, Code::Shape, c.op, ": the sizes ", sizes, " add up to ", total, "; axis ", c.attrs.axis,
          " of ", c.in[0].shape(), " has ", size);
  return sizes;
}

Tensors splitViews(const Args<Split>& c) {
  const Tensor& x = c.in[0];
  int axis = resolveAxis(c.op, c.attrs.axis, x.rank());
  Tensors out;
  int64_t start = 0;
  for (int64_t n : partSizes(c, x.shape()[axis])) {
    Places p = placesIn(x);
    p.slice(axis, start, n, 1);
    start += n;
    out.push_back(share(x, p));
  }
  return out;
}

Tensors chunkViews(const Args<Chunk>& c) {
  require(c.attrs.parts > 0, Code::Value, c.op, ": parts must be 1 or more; got ", c.attrs.parts);
  int64_t size = c.in[0].shape()[resolveAxis(c.op, c.attrs.axis, c.in[0].rank())];
  Split s{.sizes = {std::max<int64_t>(1, (size + c.attrs.parts - 1) / c.attrs.parts)}, .axis = c.attrs.axis};
  return splitViews({s, c.in, c.op});
}

/// The gradients of parts of a tensor, with zeros for those that nothing flowed back to.
template <class A>
Tensors partGrads(const Vjp<A>& v) {
  Tensors grads;
  for (size_t i = 0; i < v.call.grads.size(); ++i) {
    const Spec& part = v.out(i).spec();
    grads.push_back(v.grad(i) ? v.grad(i) : full(part.shape, 0, part.dtype));
  }
  return grads;
}
/// The tensor whose neighbouring parts along `axis` these are, where they are: as gradients that a kernel has written
/// side by side.
Tensor wholeOf(const Tensors& parts, int64_t axisGiven) {
  const Tensor& first = parts.front();
  const int axis = resolveAxis("split", axisGiven, first.rank());
  Shape shape = first.shape();
  shape[axis] = 0;
  for (const Tensor& t : parts) {
    const bool next = t.impl()->storage && t.impl()->storage == first.impl()->storage && !t.requiresGrad() &&
                      t.strides() == first.strides() && t.dtype() == first.dtype() &&
                      t.impl()->offset == first.impl()->offset + shape[axis] * first.strides()[axis];
    if (!next) return {};
    shape[axis] += t.shape()[axis];
  }
  return first.alias(shape, first.strides(), first.impl()->offset);
}

template <class A>
Tensors joinParts(const Vjp<A>& v) {
  const Tensors parts = partGrads(v);
  const Tensor whole = wholeOf(parts, v.attrs.axis);
  return {whole ? whole : concat(parts, {.axis = v.attrs.axis})};
}

Tensors unstackViews(const Args<Unstack>& c) {
  const Tensor& x = c.in[0];
  int axis = resolveAxis(c.op, c.attrs.axis, x.rank());
  Places all = placesIn(x);
  int64_t size = all.shape[axis], stride = all.strides[axis];
  all.shape.erase(axis);
  all.strides.erase(axis);
  Tensors out;
  for (int64_t i = 0; i < size; ++i) out.push_back(x.alias(all.shape, all.strides, all.offset + i * stride));
  return out;
}

}  // namespace

const Op<Strided> strided(
    {.name = "strided",
     .doc = "The elements of `x`, seen in row-major order, at `offset` and steps of `strides` from it.",
     .inputs = {"x"},
     .attrs = {required<&Strided::shape>("shape", "the shape of the result"),
               required<&Strided::strides>("strides", "for each axis, the elements between neighbours"),
               required<&Strided::offset>("offset", "the place of the first element")},
     .view =
         [](const Args<Strided>& c) {
           GradMode off(false);  // a copy made on the way is not a record of its own
           Tensor x = c.in[0].contiguous() ? c.in[0] : contiguous(c.in[0]);
           return x.alias(Shape(c.attrs.shape), Strides(c.attrs.strides), x.impl()->offset + c.attrs.offset);
         },
     .vjp =
         [](const Vjp<Strided>& v) {
           Strided s = v.attrs;
           s.shape = v.in().shape().ints();
           return Tensors{stridedGrad(v.grad(), s)};
         },
     .internal = true});

const Op<Strided> stridedGrad(
    {.name = "stridedGrad",
     .doc = "Zeros of `shape`, with the elements of `x` at `offset` and steps of `strides` from it.",
     .inputs = {"x"},
     .attrs = {required<&Strided::shape>("shape", "the shape of the result"),
               required<&Strided::strides>("strides", "for each axis of `x`, the elements between neighbours"),
               required<&Strided::offset>("offset", "the place of the first element")},
     .infer =
         [](const Args<Strided>& c) {
           return Specs{{Shape(c.attrs.shape), c.in[0].dtype()}};
         },
     .vjp =
         [](const Vjp<Strided>& v) {
           Strided s = v.attrs;
           s.shape = v.in().shape().ints();
           return Tensors{strided(v.grad(), s)};
         },
     .internal = true,
     .anyStrides = true});

const Op<Slice> slice(
    {.name = "slice",
     .doc = "A part of `x` along its first axes or along `axes`: from a start up to, not including, an end, by a "
            "step. Negative bounds count from the end, bounds outside are clamped, and with a negative step the "
            "elements come in reverse (then an end before the first element is written as -size-1 or less). Shares "
            "memory.",
     .inputs = {"x"},
     .attrs = {required<&Slice::starts>("starts", "for each axis, the first position"),
               required<&Slice::ends>("ends", "for each axis, the position before which to stop"),
               field<&Slice::steps>("steps", "for each axis, the step; ones when absent"),
               field<&Slice::axes>("axes", "the axes meant; the first ones when absent")},
     .view = placesView<Slice, applySlice>,
     .vjp = placesGrad<Slice, applySlice>});

const Op<Narrow> narrow({.name = "narrow",
                         .doc = "`size` elements of `x` along `axis`, from `start` on. Shares memory.",
                         .inputs = {"x"},
                         .attrs = {required<&Narrow::axis>("axis", "the axis; negative ones count from the end"),
                                   required<&Narrow::start>("start",
                                                            "the first position; negative ones count from the end"),
                                   required<&Narrow::size>("size", "the number of elements")},
                         .view = placesView<Narrow, applyNarrow>,
                         .vjp = placesGrad<Narrow, applyNarrow>});

const Op<Flip> flip(
    {.name = "flip",
     .doc = "`x` with its elements in reverse order along `axis` (all axes when absent). Shares memory.",
     .inputs = {"x"},
     .attrs = {field<&Flip::axis>("axis", "the axes to reverse; negative ones count from the end")},
     .view = placesView<Flip, applyFlip>,
     .vjp = [](const Vjp<Flip>& v) { return Tensors{flip(v.grad(), v.attrs)}; }});

const Op<Diagonal> diagonal(
    {.name = "diagonal",
     .doc = "The diagonal of the matrices that `axisA` and `axisB` of `x` span, as the last axis of the result. "
            "Shares memory.",
     .inputs = {"x"},
     .attrs = {field<&Diagonal::offset>("offset",
                                        "which diagonal: above the main one when positive, below when negative"),
               field<&Diagonal::axisA>("axisA", "the axis of the rows"),
               field<&Diagonal::axisB>("axisB", "the axis of the columns")},
     .view = placesView<Diagonal, applyDiagonal>,
     .vjp = placesGrad<Diagonal, applyDiagonal>});

const Op<Split> split(
    {.name = "split",
     .doc = "Parts of `x` along `axis`. One number is the size of every part, but for a smaller last one; a list "
            "gives each part's size. The parts share memory.",
     .inputs = {"x"},
     .attrs = {required<&Split::sizes>("sizes", "the size of every part, or a list of sizes"),
               field<&Split::axis>("axis", "the axis to cut; negative ones count from the end")},
     .outputs = {"parts..."},
     .views = splitViews,
     .vjp = joinParts<Split>});

const Op<Chunk> chunk(
    {.name = "chunk",
     .doc = "At most `parts` parts of `x` along `axis`, each as large as the first but for a smaller last one. The "
            "parts share memory.",
     .inputs = {"x"},
     .attrs = {required<&Chunk::parts>("parts", "the number of parts"),
               field<&Chunk::axis>("axis", "the axis to cut; negative ones count from the end")},
     .outputs = {"parts..."},
     .views = chunkViews,
     .vjp = joinParts<Chunk>});

const Op<Unstack> unstack({.name = "unstack",
                           .doc = "The slices of `x` along `axis`, without that axis. They share memory.",
                           .inputs = {"x"},
                           .attrs = {field<&Unstack::axis>("axis",
                                                           "the axis to take apart; negative ones count from the end")},
                           .outputs = {"parts..."},
                           .views = unstackViews,
                           .vjp = [](const Vjp<Unstack>& v) {
                             if (v.call.grads.empty()) return Tensors{full(v.in().shape(), 0, v.in().dtype())};
                             return Tensors{stack(partGrads(v), {.axis = v.attrs.axis})};
                           }});

}  // namespace anneal::ops
