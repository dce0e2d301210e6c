#ifdef ANNEAL_ONEDNN
#include <bit>

#include "cpu/gemm_library.h"
#include "cpu/onednn.h"

namespace anneal::cpu::library {
namespace {

/// Strides of [rows, columns] as oneDNN takes them: one of the two 1, the other no less than the size. False if there
/// are none.
bool plainStrides(const Factor& f, int64_t rows, int64_t columns, Strides& out) {
  int64_t row = f.row, column = f.column;
  if (columns == 1 && row != 1) column = 1;
  if (rows == 1 && column == 1) row = columns;
  if (columns == 1 && row == 1) column = rows;
  out = {row, column};
  return (column == 1 && row >= columns) || (row == 1 && column >= rows);
}

onednn::Prepared prepare(const Gemm& g, const Strides& a, const Strides& b) {
  using onednn::strided;
  dnnl::primitive_attr attr = onednn::userScratchpad();
  if (g.alpha != 1) attr.set_output_scales(0, {float(g.alpha)});
  if (g.beta != 0) {
    dnnl::post_ops post;
    post.append_sum(float(g.beta));
    attr.set_post_ops(post);
  }
  auto source = strided(g.dtype, {g.m, g.k}, a), weights = strided(g.dtype, {g.k, g.n}, b);
  auto result = strided(g.result(), {g.m, g.n}, {g.ldc, 1});
  std::vector<onednn::Prepared::Argument> arguments{
      {DNNL_ARG_SRC, source}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, result}};
  dnnl::matmul::desc desc(source, weights, result);
  if (g.bias) {
    auto bias = strided(g.result(), {1, g.n}, {g.n, 1});
    desc = dnnl::matmul::desc(source, weights, bias, result);
    arguments.emplace_back(DNNL_ARG_BIAS, bias);
  }
  dnnl::matmul::primitive_desc made(desc, attr, onednn::engine());
  return {dnnl::matmul(made), made.scratchpad_desc(), arguments};
}

}  // namespace

bool multiply(const Gemm& g) {
  if (g.dtype != DType::Float32 && !(g.dtype == DType::BFloat16 && onednn::fastBFloat16())) return false;
  if (g.bias && g.alpha != 1) return false;  // oneDNN would scale the bias too
  Strides a, b;
  if (!plainStrides(g.a, g.m, g.k, a) || !plainStrides(g.b, g.k, g.n, b)) return false;
  onednn::Key key(onednn::Kind::Matmul, g.dtype, g.wide, g.m, g.n, g.k, a, b, g.ldc, bool(g.bias),
                  std::bit_cast<int64_t>(g.alpha), std::bit_cast<int64_t>(g.beta));
  auto& prepared = onednn::cached(key, [&] { return prepare(g, a, b); });
  if (g.bias) prepared.run({g.a.data, g.b.data, g.c, g.bias});
  else prepared.run({g.a.data, g.b.data, g.c});
  return true;
}

}  // namespace anneal::cpu::library
#endif
