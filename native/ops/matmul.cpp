#include "ops/matmul.h"

#include "op/precision.h"
#include "ops/products.h"
#include "ops/views.h"

namespace anneal::ops {
namespace {

Specs inferMatmul(const Args<None>& c) {
  const Spec &a = c.in[0].spec(), &b = c.in[1].spec();
  require(a.shape.rank() > 0 && b.shape.rank() > 0, Code::Shape, c.op, ": takes tensors with at least one axis; got ",
          a.shape, " x ", b.shape, "; use mul for scalars");
  require(a.dtype == b.dtype, Code::DType, c.op, ": dtypes differ: ", a.dtype, " x ", b.dtype,
          "; cast() one to the other");
  require(a.dtype != DType::Bool, Code::DType, c.op,
          ": there is no product of bool matrices; cast() them to a number type");
  int64_t inner = b.shape.rank() == 1 ? b.shape[0] : b.shape.back(2);
  require(a.shape.back() == inner, Code::Shape, c.op, ": inner sizes differ: ", a.shape, " x ", b.shape);
  Shape out = broadcast(c.op, a.shape.slice(0, std::max(a.shape.rank() - 2, 0)),
                        b.shape.slice(0, std::max(b.shape.rank() - 2, 0)));
  if (a.shape.rank() > 1) out.push(a.shape.back(2));
  if (b.shape.rank() > 1) out.push(b.shape.back());
  return {{out, a.dtype}};
}

const Implement<None> matmulOnCpu("matmul", DeviceType::Cpu,
                                  [](const Call<None>& c) { cpu::gemm(matmulProduct(c.in, c.out[0])); });

Tensor withAxis(const Tensor& x, int axisFromEnd) {
  Shape shape = x.shape();
  shape.insert(shape.rank() + 1 - axisFromEnd, 1);
  return reshape(x, {.shape = shape.ints()});
}

/// The gradient of a vector or matrix B that all of A's batch shares: one product over all rows.
Tensor sharedGradient(const Tensor& a, const Tensor& b, const Tensor& grad) {
  Tensor rows = rowsOf(a);
  if (b.rank() == 1) return matmul(reshape(grad, {.shape = {grad.size()}}), rows);
  return matmul(transposeLast(rows), rowsOf(grad));
}

Tensors matmulVjp(const Vjp<None>& v) {
  const Tensor &a = v.in(0), &b = v.in(1);
  Tensor grad = v.grad(), ga, gb;
  if (v.need(1) && a.rank() > 1 && b.rank() <= 2) gb = sharedGradient(a, b, grad);
  // From here both factors and the gradient are matrices. The engine sums over the batch and leading ones.
  if (b.rank() == 1) grad = withAxis(grad, 1);
  if (a.rank() == 1) grad = withAxis(grad, 2);
  if (v.need(0)) ga = matmul(grad, b.rank() == 1 ? withAxis(b, 2) : transposeLast(b));
  if (v.need(1) && !gb) {
    gb = matmul(a.rank() == 1 ? withAxis(a, 1) : transposeLast(a), grad);
    if (b.rank() == 1) gb = reshape(gb, {.shape = gb.shape().slice(0, gb.rank() - 1).ints()});
  }
  return {ga, gb};
}

}  // namespace

cpu::Gemm matmulProduct(std::span<const View> in, const View& out) {
  Matrices b = Matrices::of(in[1]);
  if (in[1].shape.rank() == 1) b = b.transposed();
  return productOf(Matrices::of(in[0]), b, out);
}

Tensor rowsOf(const Tensor& x) {
  return reshape(x, {.shape = {x.shape().slice(0, x.rank() - 1).product(), x.shape().back()}});
}

Tensor transposeLast(const Tensor& x) {
  Ints axes;
  for (int i = 0; i < x.rank(); ++i) axes.push_back(i);
  std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
  return permute(x, {.axes = axes});
}

const Op<None> matmul(
    {.name = "matmul",
     .doc = "The matrix product of `a` [..., m, k] and `b` [..., k, n]: [..., m, n]. Leading axes broadcast. A "
            "vector `a` is one row, a vector `b` one column, and that axis is absent from the result; two vectors "
            "give their inner product. Both have one dtype; integers wrap.",
     .inputs = {"a", "b"},
     .infer = inferMatmul,
     .vjp = matmulVjp,
     .saves = kSaveInputs,
     .anyStrides = true,
     .cost = [](const None&, std::span<const View> in, std::span<const View> out) {
       return productCost(in[0].shape.back(), out[0]);
     }});

const ComputeIn precision(Precision::Low, {"matmul"});

}  // namespace anneal::ops
