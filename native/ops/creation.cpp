#include "ops/creation.h"

#include <cmath>

#include "cpu/convert.h"
#include "cpu/copy.h"
#include "cpu/parallel.h"

namespace anneal::ops {
namespace {

void fullCpu(const Call<Full>& call) { cpu::fill(call.out[0], call.attrs.value); }
const Implement<Full> fullOnCpu("full", DeviceType::Cpu, fullCpu);

/// out[i] = value(i), which is in double.
template <class F>
void fillBy(const View& out, F&& value) {
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    cpu::parallelFor(out.size(), 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out.as<T>()[i] = cpu::convertTo<T>(value(i));
    });
  });
}

void rangeCpu(const Call<Range>& call) {
  fillBy(call.out[0], [a = call.attrs](int64_t i) { return a.start + double(i) * a.step; });
}

/// Each half counts from its own end, so that both ends are exact.
void linspaceCpu(const Call<Linspace>& call) {
  const Linspace& a = call.attrs;
  double step = a.count > 1 ? (a.stop - a.start) / double(a.count - 1) : 0;
  fillBy(call.out[0], [=](int64_t i) {
    return i < a.count / 2 || a.count == 1 ? a.start + double(i) * step : a.stop - double(a.count - 1 - i) * step;
  });
}

void eyeCpu(const Call<Eye>& call) {
  const View& out = call.out[0];
  cpu::fill(out, 0);
  int64_t n = std::min(out.shape[0], out.shape[1]);
  if (n > 0) cpu::fill(cpu::part(out, {n}, {out.shape[1] + 1}, 0), 1);
}

const Implement<Range> rangeOnCpu("range", DeviceType::Cpu, rangeCpu);
const Implement<Linspace> linspaceOnCpu("linspace", DeviceType::Cpu, linspaceCpu);
const Implement<Eye> eyeOnCpu("eye", DeviceType::Cpu, eyeCpu);

/// Fractions of `value` are cut off; anything but 0 is true.
void requireHeld(const std::string& op, double value, DType dtype) {
  if (isFloat(dtype) || dtype == DType::Bool) return;
  const IntegerRange held = integerRange(dtype);
  const double whole = std::trunc(value);
  require(whole >= double(held.least) && whole < double(held.greatest) + 1, Code::Value, op, ": ", dtype, " holds ",
          held, "; got ", value);
}

template <int value>
Op<Constant> constantOp(const char* name, const char* doc) {
  return Op<Constant>({.name = name,
                       .doc = doc,
                       .inputs = {},
                       .attrs = {required<&Constant::shape>("shape", "the sizes of the result"),
                                 field<&Constant::dtype>("dtype", "the dtype of the result")},
                       .lower =
                           [](const Args<Constant>& c) {
                             checkShape(c.op, Shape(c.attrs.shape));
                             return Tensors{full(Shape(c.attrs.shape), value, c.attrs.dtype)};
                           },
                       .method = false});
}

template <int value>
Op<None> likeOp(const char* name, const char* doc) {
  return Op<None>({.name = name, .doc = doc, .inputs = {"x"}, .lower = [](const Args<None>& c) {
                     return Tensors{full(c.in[0].shape(), value, c.in[0].dtype())};
                   }});
}

}  // namespace

const Op<Constant> zerosOp = constantOp<0>("zeros", "A tensor of `shape` full of zeros.");
const Op<Constant> onesOp = constantOp<1>("ones", "A tensor of `shape` full of ones.");
const Op<None> zerosLikeOp = likeOp<0>("zerosLike", "Zeros with the shape and dtype of `x`.");
const Op<None> onesLikeOp = likeOp<1>("onesLike", "Ones with the shape and dtype of `x`.");

const Op<FullLike> fullLikeOp({.name = "fullLike",
                               .doc = "A tensor with the shape and dtype of `x` and `value` everywhere.",
                               .inputs = {"x"},
                               .attrs = {required<&FullLike::value>("value", "the value of every element")},
                               .lower = [](const Args<FullLike>& c) {
                                 requireHeld(c.op, c.attrs.value, c.in[0].dtype());
                                 return Tensors{full(c.in[0].shape(), c.attrs.value, c.in[0].dtype())};
                               }});

const Op<Range> range(
    {.name = "range",
     .doc = "The numbers `start + i * step` for i from 0 up to, not including, `count`, computed in float64.",
     .inputs = {},
     .attrs = {required<&Range::start>("start", "the first number"),
               required<&Range::step>("step", "the difference of neighbours"),
               required<&Range::count>("count", "how many numbers"),
               field<&Range::dtype>("dtype", "the dtype of the result")},
     .infer =
         [](const Args<Range>& c) {
           return Specs{{{c.attrs.count}, c.attrs.dtype}};
         },
     .nonDifferentiable = true,
     .internal = true});

const Op<Linspace> linspace({.name = "linspace",
                             .doc = "`count` numbers at equal distances from `start` to `stop`, both included.",
                             .inputs = {},
                             .attrs = {required<&Linspace::start>("start", "the first number"),
                                       required<&Linspace::stop>("stop", "the last number"),
                                       required<&Linspace::count>("count", "how many numbers"),
                                       field<&Linspace::dtype>("dtype", "the dtype of the result")},
                             .infer =
                                 [](const Args<Linspace>& c) {
                                   return Specs{{{c.attrs.count}, c.attrs.dtype}};
                                 },
                             .nonDifferentiable = true,
                             .method = false});

const Op<Eye> eye({.name = "eye",
                   .doc = "A matrix of `rows` rows with ones on the main diagonal and zeros elsewhere.",
                   .inputs = {},
                   .attrs = {required<&Eye::rows>("rows", "the number of rows"),
                             field<&Eye::columns>("columns", "the number of columns; that of rows when absent"),
                             field<&Eye::dtype>("dtype", "the dtype of the result")},
                   .infer =
                       [](const Args<Eye>& c) {
                         return Specs{{{c.attrs.rows, c.attrs.columns.value_or(c.attrs.rows)}, c.attrs.dtype}};
                       },
                   .nonDifferentiable = true,
                   .method = false});

const Op<Full> fullOp({.name = "full",
                       .doc = "A tensor of `shape` with `value` everywhere.",
                       .inputs = {},
                       .attrs = {required<&Full::shape>("shape", "the sizes of the result"),
                                 required<&Full::value>("value", "the value of every element"),
                                 field<&Full::dtype>("dtype", "the dtype of the result")},
                       .infer =
                           [](const Args<Full>& c) {
                             requireHeld(c.op, c.attrs.value, c.attrs.dtype);
                             return Specs{{Shape(c.attrs.shape), c.attrs.dtype}};
                           },
                       .nonDifferentiable = true,
                       .method = false});

Tensor full(const Shape& shape, double value, DType dtype) {
  return fullOp.all({}, {.shape = shape.ints(), .value = value, .dtype = dtype}).front();
}
Tensor onesLike(const Tensor& like) { return full(like.shape(), 1, like.dtype()); }
Tensor zerosLike(const Tensor& like) { return full(like.shape(), 0, like.dtype()); }
Tensor number(double value) {
  bool integral = std::trunc(value) == value && std::fabs(value) < 0x1p53;
  return scalarTensor(value, integral ? DType::Int64 : DType::Float64, true);
}

}  // namespace anneal::ops
