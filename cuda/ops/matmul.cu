// matmul and linear, also with what follows them.
#include "blas.h"
#include "copy.h"
#include "fused.h"
#include "graph/passes/epilogues.h"
#include "graph/passes/sums.h"
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

void multiplyMatrices(std::span<const View> in, const View& out, const void* bias, const Epilogue& epilogue,
                      const FactorSums& sums = {}) {
  if (out.size() == 0) return;
  const Factor left(in[0]), right(in[1]);
  Matrices b = Matrices::of(right.view);
  if (right.view.shape.rank() == 1) b = b.transposed();
  cpu::Gemm g = ops::productOf(Matrices::of(left.view), b, out);
  g.bias = bias;
  multiply(g, epilogue, sums);
}

/// `bias` stands for one that is not among the inputs.
void multiplyLinear(std::span<const View> in, const View& out, const void* bias, const Epilogue& epilogue) {
  if (out.size() == 0) return;
  const Factor x(in[0]), weight(in[1]);
  cpu::Gemm g = ops::productOf(Matrices::of(x.view), Matrices::of(weight.view).transposed(), out);
  std::optional<Prepared> own;
  g.bias = in.size() > 2 && in[2].defined ? own.emplace(in[2], in[2].dtype).view().data() : bias;
  multiply(g, epilogue);
}

void matmulCuda(const Call<None>& call) { multiplyMatrices(call.in, call.out[0], nullptr, {}); }
void linearCuda(const Call<None>& call) { multiplyLinear(call.in, call.out[0], nullptr, {}); }

void withEpilogueCuda(const Call<passes::WithEpilogue>& call) {
  const passes::WithEpilogue& a = call.attrs;
  if (!a.form) return normEpilogueCuda(call);
  const passes::ProductForm& form = *a.form;
  const auto input = [&](int r) { return r < 0 ? nullptr : call.in[a.inputs + size_t(r) - 1].data(); };
  const Epilogue epilogue{.after = form.after,
                          .residual = input(form.residual),
                          .before = form.before < 0 ? nullptr : call.out[size_t(form.before)].data(),
                          .other = input(form.other)};
  const auto in = call.in.first(a.inputs);
  const View& out = call.out[size_t(form.result)];
  if (a.row == &ops::linear.row()) multiplyLinear(in, out, input(form.bias), epilogue);
  else multiplyMatrices(in, out, input(form.bias), epilogue);
}

void withSumsCuda(const Call<passes::ProductWithSums>& call) {
  const bool right = call.attrs.right;
  multiplyMatrices(call.in, call.out[0], nullptr, {}, {.of = &call.in[right], .to = &call.out[1], .right = right});
}

const Implement<passes::ProductWithSums> withSumsOnCuda("fusedSums", DeviceType::Cuda, withSumsCuda);
const Implement<passes::WithEpilogue> withEpilogueOnCuda("fusedEpilogue", DeviceType::Cuda, withEpilogueCuda);
const Implement<None> matmulOnCuda("matmul", DeviceType::Cuda, matmulCuda);
const Implement<None> linearOnCuda("linear", DeviceType::Cuda, linearCuda);

}  // namespace
}  // namespace anneal::cuda
