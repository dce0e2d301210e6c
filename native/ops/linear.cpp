#include "ops/linear.h"

#include "cpu/convert.h"
#include "cpu/float8.h"
#include "cpu/workspace.h"
#include "op/precision.h"
#include "ops/arithmetic.h"
#include "ops/matmul.h"
#include "ops/products.h"
#include "ops/reduce.h"
#include "ops/views.h"

namespace anneal::ops {
namespace {

/// C++ callers may leave the bias out altogether.
Tensor biasOf(const Args<None>& c) { return c.in.size() > 2 ? c.in[2] : Tensor(); }

Specs inferLinear(const Args<None>& c) {
  const Spec &x = c.in[0].spec(), &w = c.in[1].spec();
  const Tensor bias = biasOf(c);
  require(x.shape.rank() > 0, Code::Shape, c.op, ": x needs at least one axis, [..., in]; got a scalar");
  require(w.shape.rank() == 2, Code::Shape, c.op, ": the weight has two axes, [out, in]; got ", w.shape);
  require(x.shape.back() == w.shape[1], Code::Shape, c.op, ": inner sizes differ: x ", x.shape, ", weight [out, in] ",
          w.shape);
  require(x.dtype == w.dtype && (!bias || bias.dtype() == x.dtype), Code::DType, c.op, ": dtypes differ: x ", x.dtype,
          ", weight ", w.dtype, ", bias ", bias ? bias.dtype() : x.dtype, "; cast() them to one");
  require(x.dtype != DType::Bool, Code::DType, c.op,
          ": there is no product of bool matrices; cast() them to a number type");
  if (bias) {
    require(bias.shape() == Shape{w.shape[0]}, Code::Shape, c.op, ": the bias has one element for each output, [",
            w.shape[0], "]; got ", bias.shape());
  }
  Shape out = x.shape;
  out[out.rank() - 1] = w.shape[0];
  return {{out, x.dtype}};
}

Specs inferFp8(const Args<None>& c) {
  require(isFloat(c.in[0].dtype()) && c.in[0].dtype() != DType::Float64, Code::DType, c.op,
          ": takes float32, float16 or bfloat16; got ", c.in[0].dtype());
  return inferLinear(c);
}

const void* contiguousBias(const View& bias) {
  if (bias.strides[0] == 1 || bias.shape[0] <= 1) return bias.data();
  return visitType(bias.dtype, [&]<class T>(TypeTag<T>) -> const void* {
    T* copy = cpu::workspace<T>(cpu::Purpose::Source, size_t(bias.size()));
    cpu::convertStrided(bias.as<T>(), bias.strides[0], copy, 1, bias.size());
    return copy;
  });
}

const Implement<None> linearOnCpu("linear", DeviceType::Cpu,
                                  [](const Call<None>& c) { cpu::gemm(linearProduct(c.in, c.out[0])); });

Tensors linearVjp(const Vjp<None>& v) {
  const Tensor& weight = v.in(1);
  Tensor gx, gw, gb;
  if (v.need(0)) gx = matmul(v.grad(), weight);
  if (v.need(1)) gw = matmul(transposeLast(rowsOf(v.grad())), rowsOf(v.in(0)));
  if (v.need(2)) gb = sum(rowsOf(v.grad()), {.axis = Ints{0}});
  return {gx, gw, gb};
}

const Implement<None> linearFp8OnCpu("linearFp8", DeviceType::Cpu, [](const Call<None>& c) {
  cpu::linearFp8(c.in[0], c.in[1], c.in.size() > 2 ? c.in[2] : View{.defined = false}, c.out[0]);
});

}  // namespace

cpu::Gemm linearProduct(std::span<const View> in, const View& out) {
  cpu::Gemm g = productOf(Matrices::of(in[0]), Matrices::of(in[1]).transposed(), out);
  if (in.size() > 2 && in[2].defined) g.bias = contiguousBias(in[2]);
  return g;
}

const Op<None> linear(
    {.name = "linear",
     .doc = "`x weightᵀ + bias`: x [..., in], weight [out, in], bias [out]; the result is [..., out]. All have one "
            "dtype.",
     .inputs = {"x", "weight", "bias?"},
     .infer = inferLinear,
     .lower =
         [](const Args<None>& c) {
           inferLinear(c);
           Tensor y = matmul(c.in[0], transposeLast(c.in[1]));
           const Tensor bias = biasOf(c);
           return Tensors{bias ? add(y, bias) : y};
         },
     .vjp = linearVjp,
     .saves = {.inputs = {0, 1}},
     .anyStrides = true,
     .cost = [](const None&, std::span<const View> in,
                std::span<const View> out) { return productCost(in[0].shape.back(), out[0]); }});

const Op<None> linearFp8({.name = "linearFp8",
                          .doc = "`linear`, with x and weight rounded to 8 bits (e4m3), each scaled by one number so "
                                 "that its largest element becomes 448. Gradients are those of `linear`.",
                          .inputs = {"x", "weight", "bias?"},
                          .infer = inferFp8,
                          .vjp = linearVjp,
                          .saves = {.inputs = {0, 1}},
                          .internal = true,
                          .cost = [](const None&, std::span<const View> in, std::span<const View> out) {
                            return productCost(in[0].shape.back(), out[0]);
                          }});
const Fp8Form fp8Form("linear", "linearFp8");

const ComputeIn precision(Precision::Low, {"linear"});

}  // namespace anneal::ops
