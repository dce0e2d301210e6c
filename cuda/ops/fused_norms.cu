// Norms of rows that a chain of elementwise operations computes, and gradients of norms that a chain goes on with, by
// kernels that are written for them and compiled at run time.
#include "fused.h"
#include "fused_chain.h"
#include "graph/passes/norms.h"
#include "norm_rows.h"

namespace anneal::cuda {
namespace {

using passes::NormAfter;
using passes::WithEpilogue;

/// A kernel for rows of which threads hold so many packs, or that are looped over.
struct PreparedRows : PreparedChain {
  int held;
};
using PreparedRef = std::shared_ptr<const PreparedRows>;

RowPlan planOf(const View& rows, int64_t width, int most, std::initializer_list<const void*> memory) {
  RowPlan plan;
  visitFloat(rows.dtype, [&]<class T>(TypeTag<T>) { plan = planRows<T>(width, most, memory); });
  return plan;
}

std::optional<DType> dtypeOf(const View& v) { return v.defined ? std::optional(v.dtype) : std::nullopt; }

/// Where a chain with a norm after it writes.
struct NormOutputs {
  bool alone;  // whether nobody else reads what is normalised, which then lies in y if it has to lie somewhere
  const View& y;
  const View& x;
  NormOutputs(const NormAfter& a, std::span<const View> out)
      : alone(out.size() == a.chain.outputs.size()), y(alone ? out[a.from] : out.back()), x(out[a.from]) {}
};

/// The chain's outputs, but for what is only normalised where it stays in registers.
template <class T>
std::vector<T> stored(const NormAfter& a, const NormOutputs& to, std::span<const T> outputs, bool held) {
  std::vector<T> out(outputs.begin(), outputs.begin() + int64_t(a.chain.outputs.size()));
  if (held && to.alone) out.erase(out.begin() + int64_t(a.from));
  return out;
}

PreparedRef preparedFor(const CudaDevice& device, const NormAfter& a, std::span<const View> in,
                        std::span<const View> out, int held) {
  const NormOutputs to(a, out);
  const View& y = to.y;
  cpu::Chain chain = a.chain;
  chain.outputs = stored<int>(a, to, a.chain.outputs, held > 0);
  Arrangement arrangement(in.subspan(2), stored<View>(a, to, out, held > 0), y,
                          mostOfRows(y.dtype, a.width, in.size() - 2));
  const NormKind kind{.dtype = y.dtype, .held = held, .weight = dtypeOf(in[0]), .bias = dtypeOf(in[1])};
  const std::string source = normSource(chain, arrangement, kind, a.chain.outputs[a.from], a.from);
  return std::make_shared<const PreparedRows>(PreparedRows{{device, chain, std::move(arrangement), source}, held});
}

PreparedRef preparedFor(const CudaDevice& device, const WithEpilogue& a, std::span<const View> in,
                        std::span<const View> out, int held) {
  const View& dx = out[0];
  Arrangement arrangement(in.subspan(a.inputs), out.first(a.chain.outputs.size()), dx,
                          mostOfRows(dx.dtype, a.width, in.size() - a.inputs));
  const NormKind kind{.dtype = dx.dtype, .held = held, .weight = dtypeOf(in[2]), .bias = {}};
  const std::string source = normGradientSource(a.chain, arrangement, kind);
  return std::make_shared<const PreparedRows>(PreparedRows{{device, a.chain, std::move(arrangement), source}, held});
}

/// The kernel that suits the plan for the operands' memory: it is there already unless something is not aligned.
template <class A>
PreparedRef prepared(const Call<A>& call, const RowPlan& plan) {
  auto known = std::static_pointer_cast<const PreparedRows>(call.attrs.prepared);
  if (known && known->held == plan.held) return known;
  known = preparedFor(current(), call.attrs, call.in, call.out, plan.held);
  call.attrs.prepared = known;
  return known;
}

void normAfterCuda(const Call<NormAfter>& call) {
  const NormAfter& a = call.attrs;
  const NormOutputs to(a, call.out);
  const RowPlan plan = planOf(to.y, a.width, kNormPacks, {to.x.memory, to.y.memory});
  const Rows rows = rowsOf(a.rows, to.y.shape);
  const PreparedRef p = prepared(call, plan);
  KernelArguments arguments = p->argumentsFor(call.in.subspan(2), stored<View>(a, to, call.out, plan.held > 0));
  for (size_t k : {0, 1}) arguments.add(Parameter(call.in[k]).memory);
  arguments.add(static_cast<const void*>(to.y.memory));
  arguments.add(rows);
  p->kernel->launch(plan.blocksFor(rows.rows), plan.block, arguments);
}

const Implement<NormAfter> normAfterOnCuda("fusedNorm", DeviceType::Cuda, normAfterCuda);

/// Starts the kernel of a gradient with a chain after it. Where rows are looped over the gradient lies for a while
/// where the chain's first result does.
void startGradient(const Call<WithEpilogue>& call, const PreparedRows& p, unsigned blocks, const RowPlan& plan,
                   const Rows& rows, const void* statistics, const void* toWeight, const void* toBias) {
  const WithEpilogue& a = call.attrs;
  KernelArguments arguments = p.argumentsFor(call.in.subspan(a.inputs), call.out.first(a.chain.outputs.size()));
  for (size_t k : {0, 1}) arguments.add(static_cast<const void*>(call.in[k].memory));
  arguments.add(Parameter(call.in[2]).memory);
  for (const void* memory : {static_cast<const void*>(call.out[0].memory), statistics, toWeight, toBias})
    arguments.add(memory);
  arguments.add(rows);
  p.kernel->launch(blocks, plan.block, arguments);
}

}  // namespace

void normEpilogueCuda(const Call<WithEpilogue>& call) {
  const WithEpilogue& a = call.attrs;
  const View &g = call.in[0], &x = call.in[1], &dw = call.out[a.chain.outputs.size()], &db = call.out.back();
  const Rows rows = rowsOf(*static_cast<const ops::NormalizeRows*>(a.attrs.get()), x.shape);
  const RowPlan plan = planOf(x, a.width, kNormGradientPacks, {g.memory, x.memory, call.out[0].memory});
  const PreparedRef p = prepared(call, plan);
  visitFloat(x.dtype, [&]<class T>(TypeTag<T>) {
    using C = Computed<T>;
    if (plan.held > 0) {
      const GroupSums<C> sums(plan, rows);
      startGradient(call, *p, sums.blocks(), plan, rows, nullptr, sums.toWeight(), sums.toBias());
      sums.finish(dw.as<C>(), db.as<C>());
    } else {
      const Scratch memory(size_t(rows.rows) * sizeof(Statistics<C>));
      auto* statistics = memory.as<Statistics<C>>();
      startGradient(call, *p, plan.blocksFor(rows.rows), plan, rows, statistics, nullptr, nullptr);
      sumParameters(g.as<T>(), x.as<T>(), statistics, rows, dw.as<C>(), db.as<C>());
    }
  });
}

void prepareNorms(CudaDevice& device, const Row& row, const void* attrs, std::span<const View> in,
                  std::span<const View> out) {
  if (&row == &passes::normAfter.row()) {
    const auto& a = *static_cast<const NormAfter*>(attrs);
    a.prepared = preparedFor(device, a, in, out, planOf(NormOutputs(a, out).y, a.width, kNormPacks, {}).held);
  } else if (&row == &passes::withEpilogue.row()) {
    const auto& a = *static_cast<const WithEpilogue*>(attrs);
    if (!a.form) a.prepared = preparedFor(device, a, in, out, planOf(out[0], a.width, kNormGradientPacks, {}).held);
  }
}

}  // namespace anneal::cuda
