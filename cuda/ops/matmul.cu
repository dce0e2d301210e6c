// matmul and linear.
#include "blas.h"
#include "copy.h"
#include "op/define.h"
#include "ops/linear.h"
#include "ops/products.h"

namespace anneal::cuda {
namespace {

using ops::Matrices;

/// A factor as it lies, or, a scalar that came with the call, in working memory.
struct Factor {
  std::optional<Prepared> prepared;
  View view;
  explicit Factor(const View& v) : view(v) {
    if (!v.memory) view = prepared.emplace(v, v.dtype).view();
  }
};

void matmulCuda(const Call<None>& call) {
  if (call.out[0].size() == 0) return;
  const Factor left(call.in[0]), right(call.in[1]);
  const Matrices a = Matrices::of(left.view);
  Matrices b = Matrices::of(right.view);
  if (right.view.shape.rank() == 1) b = b.transposed();
  multiply(ops::productOf(a, b, call.out[0]));
}

void linearCuda(const Call<None>& call) {
  if (call.out[0].size() == 0) return;
  const Factor x(call.in[0]), weight(call.in[1]);
  cpu::Gemm g = ops::productOf(Matrices::of(x.view), Matrices::of(weight.view).transposed(), call.out[0]);
  std::optional<Prepared> bias;
  if (call.in.size() > 2 && call.in[2].defined) g.bias = bias.emplace(call.in[2], call.in[2].dtype).view().data();
  multiply(g);
}

const Implement<None> matmulOnCuda("matmul", DeviceType::Cuda, matmulCuda);
const Implement<None> linearOnCuda("linear", DeviceType::Cuda, linearCuda);

}  // namespace
}  // namespace anneal::cuda
