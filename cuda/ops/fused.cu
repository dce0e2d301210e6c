// Joined elementwise operations, also with totals of what they compute, by kernels that are written for them and
// compiled at run time.
#include "fused.h"

#include "fused_chain.h"
#include "graph/passes/chains.h"
#include "index.h"
#include "reduce.cuh"

namespace anneal::cuda {
namespace {

using PreparedRef = std::shared_ptr<const PreparedChain>;

PreparedRef preparedFor(const CudaDevice& device, const passes::Joined& attrs, std::span<const View> in,
                        std::span<const View> out) {
  Arrangement arrangement(in, out);
  const std::string source = elementwiseSource(attrs.chain, arrangement);
  return std::make_shared<const PreparedChain>(
      PreparedChain{{attrs.chain, std::move(arrangement)}, runtimeKernel(device, source)});
}

PreparedRef preparedFor(const CudaDevice& device, const passes::ChainTotals& attrs, std::span<const View> in,
                        std::span<const View> out) {
  View whole;
  whole.shape = attrs.shape;
  whole.strides = contiguousStrides(attrs.shape);
  Arrangement arrangement(in, out.first(out.size() - 1), whole,
                          mostTogether(attrs.totals, attrs.shape.product() / attrs.totals.width));
  const std::string source =
      totalsSource(attrs.chain, arrangement, TotalsKind(attrs.chain, attrs.totals, out.back().dtype));
  return std::make_shared<const PreparedChain>(
      PreparedChain{{attrs.chain, std::move(arrangement)}, runtimeKernel(device, source)});
}

template <class A>
PreparedRef prepared(const Call<A>& call) {
  if (!call.attrs.prepared) call.attrs.prepared = preparedFor(current(), call.attrs, call.in, call.out);
  return std::static_pointer_cast<const PreparedChain>(call.attrs.prepared);
}

void joinedCuda(const Call<passes::Joined>& call) {
  const int64_t n = call.out[0].size();
  if (n == 0) return;
  const PreparedRef p = prepared(call);
  KernelArguments arguments;
  p->addTo(arguments, call.in, call.out);
  arguments.add(n);
  p->kernel->launch(blocksFor(n, int64_t(kFusedThreads) * p->arrangement.width), kFusedThreads, arguments);
}

/// Calls f with what totals are made by: see TotalsKind.
template <class F>
void visitReducer(const TotalsKind& kind, double number, F&& f) {
  const auto of = [&]<class T>(TypeTag<T>) {
    if (kind.reducer == cpu::Reducer::Sum) f(Adding<T>{{Finish::Scale, number}, {}});
    else if (kind.reducer == cpu::Reducer::Max) f(Extremum<T, true>{});
    else f(Extremum<T, false>{});
  };
  if (kind.value == DType::Float32) of(TypeTag<float>{});
  else if (kind.value == DType::Float64) of(TypeTag<double>{});
  else of(TypeTag<int64_t>{});
}

/// Where rows are cut into pieces, a second kernel merges these: the one of plain reductions.
void totalsCuda(const Call<passes::ChainTotals>& call) {
  const cpu::Totals& totals = call.attrs.totals;
  const View& result = call.out.back();
  const Shares shares = sharesOfRows(call.attrs.shape.product() / totals.width, totals.width);
  const PreparedRef p = prepared(call);
  visitReducer(TotalsKind(call.attrs.chain, totals, result.dtype), totals.number, [&]<class R>(const R& reducer) {
    using State = typename R::State;
    const Scratch memory(shares.pieces > 1 ? size_t(shares.results * shares.pieces) * sizeof(State) : 1);
    KernelArguments arguments;
    p->addTo(arguments, call.in, call.out.first(call.out.size() - 1));
    arguments.add(shares);
    arguments.add(totals.number);
    arguments.add(static_cast<const void*>(result.memory));
    arguments.add(static_cast<const void*>(memory.as<std::byte>()));
    p->kernel->launch(shares.blocks(), kReduceThreads, arguments);
    if (shares.pieces > 1) mergePieces(reducer, memory.as<State>(), shares, result);
  });
}

const Implement<passes::Joined> joinedOnCuda("fusedElementwise", DeviceType::Cuda, joinedCuda);
const Implement<passes::ChainTotals> totalsOnCuda("fusedReduction", DeviceType::Cuda, totalsCuda);

template <class A>
void prepareAs(const CudaDevice& device, const void* attrs, std::span<const View> in, std::span<const View> out) {
  const auto& a = *static_cast<const A*>(attrs);
  a.prepared = preparedFor(device, a, in, out);
}

}  // namespace

void prepareFused(CudaDevice& device, const Row& row, const void* attrs, std::span<const View> in,
                  std::span<const View> out) {
  if (&row == &passes::joined.row() && out[0].size() > 0) prepareAs<passes::Joined>(device, attrs, in, out);
  if (&row == &passes::chainTotals.row()) prepareAs<passes::ChainTotals>(device, attrs, in, out);
  prepareNorms(device, row, attrs, in, out);
}

}  // namespace anneal::cuda
