#include "ops/triangular.h"

#include <algorithm>
#include <cstring>

#include "cpu/parallel.h"

namespace anneal::ops {
namespace {

Specs inferTriangle(const Args<Triangle>& c) {
  require(c.in[0].rank() >= 2, Code::Shape, c.op, ": expected at least two axes, rows and columns; got ",
          c.in[0].shape());
  return {c.in[0].spec()};
}

/// Copies, of each row, the columns before (`lower`) or from (`upper`) the diagonal on, and clears the rest.
void triangleRows(const Call<Triangle>& call, bool lower) {
  const View &x = call.in[0], &out = call.out[0];
  int64_t rows = x.shape.back(2), columns = x.shape.back(), item = int64_t(itemSize(x.dtype));
  int64_t diagonal = std::clamp(call.attrs.diagonal, -rows, columns);
  cpu::parallelFor(x.size() / std::max<int64_t>(1, columns),
                   std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns)), [&](int64_t begin, int64_t end) {
                     for (int64_t r = begin; r < end; ++r) {
                       int64_t cut = std::clamp<int64_t>(r % rows + diagonal + (lower ? 1 : 0), 0, columns);
                       const std::byte* from = x.as<std::byte>() + r * columns * item;
                       std::byte* to = out.as<std::byte>() + r * columns * item;
                       size_t head = size_t(cut * item), tail = size_t((columns - cut) * item);
                       if (lower) {
                         std::memcpy(to, from, head);
                         std::memset(to + head, 0, tail);
                       } else {
                         std::memset(to, 0, head);
                         std::memcpy(to + head, from + head, tail);
                       }
                     }
                   });
}
void trilCpu(const Call<Triangle>& call) { triangleRows(call, true); }
void triuCpu(const Call<Triangle>& call) { triangleRows(call, false); }
const Implement<Triangle> trilOnCpu("tril", DeviceType::Cpu, trilCpu);
const Implement<Triangle> triuOnCpu("triu", DeviceType::Cpu, triuCpu);

Field diagonalField() {
  return field<&Triangle::diagonal>("diagonal",
                                    "the last diagonal kept: 0 is the main one, above it positive, below negative");
}

}  // namespace

const Op<Triangle> tril({.name = "tril",
                         .doc = "The lower triangle of the matrices in the last two axes of `x`, zeros elsewhere.",
                         .inputs = {"x"},
                         .attrs = {diagonalField()},
                         .infer = inferTriangle,
                         .vjp = [](const Vjp<Triangle>& v) { return Tensors{tril(v.grad(), v.attrs)}; }});

const Op<Triangle> triu({.name = "triu",
                         .doc = "The upper triangle of the matrices in the last two axes of `x`, zeros elsewhere.",
                         .inputs = {"x"},
                         .attrs = {diagonalField()},
                         .infer = inferTriangle,
                         .vjp = [](const Vjp<Triangle>& v) { return Tensors{triu(v.grad(), v.attrs)}; }});

}  // namespace anneal::ops
