#include "ops/creation.h"

#include <cmath>

#include "cpu/elementwise.h"

namespace anneal::ops {
namespace {

void fullCpu(const Call<Full>& call) {
  static const cpu::LoopSet copy = cpu::loops<scalar::Copy>();
  View value = scalarTensor(call.attrs.value, call.out[0].dtype).view();
  cpu::mapTiles(copy, nullptr, computeType(value.dtype), {&value, 1}, call.out[0]);
}
const Implement<Full> fullOnCpu("full", DeviceType::Cpu, fullCpu);

}  // namespace

const Op<Full> fullOp({.name = "full",
                       .doc = "A tensor of `shape` with `value` everywhere.",
                       .inputs = {},
                       .attrs = {required<&Full::shape>("shape", "the sizes of the result"),
                                 required<&Full::value>("value", "the value of every element"),
                                 field<&Full::dtype>("dtype", "the dtype of the result")},
                       .infer = [](const Args<Full>& c) { return Specs{{Shape(c.attrs.shape), c.attrs.dtype}}; },
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
