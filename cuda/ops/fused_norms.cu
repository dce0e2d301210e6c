// Norms of rows, and their gradients, with chains of elementwise operations before and after them, by kernels that are
// written for them and compiled at run time.
#include <optional>

#include "fused.h"
#include "fused_chain.h"
#include "graph/passes/norms.h"
#include "norm_rows.h"

namespace anneal::cuda {
namespace {

using passes::NormAfter;
using passes::WithEpilogue;

/// What the two operations that graphs have for this are alike.
struct ChainedNorm {
  const cpu::Chain *before = nullptr, *after = nullptr;
  size_t from = 0;  // the output of the first that is normalised
  ops::NormalizeRows attrs;
  int64_t width = 0;
  DType dtype;
  bool gradient;
  std::vector<View> beforeIn, beforeOut, afterIn, afterOut;
  bool stored = true;  // whether others read what is normalised
  View given, x, weight, bias, result, dw, db;

  ChainedNorm(const NormAfter& a, std::span<const View> in, std::span<const View> out);
  ChainedNorm(const WithEpilogue& a, std::span<const View> in, std::span<const View> out);

  const View& whole() const { return after ? afterOut[0] : result; }
  int most() const { return gradient ? kNormGradientPacks : kNormPacks; }
  /// Whether the norm's result is stored by what goes on with it.
  bool storedAfter() const { return after && after->outputs[0] == 0; }

 private:
  void takeInputs(const Row* row, std::span<const View> others);
};

const View& absent() {
  static const View view = [] {
    View v;
    v.defined = false;
    return v;
  }();
  return view;
}

/// Those beside the first.
void ChainedNorm::takeInputs(const Row* row, std::span<const View> others) {
  gradient = row == &ops::normalizeRowsGradient.row();
  const View &first = others[0], &second = others.size() > 1 ? others[1] : absent();
  x = gradient ? first : absent();
  weight = gradient ? second : first;
  bias = gradient ? absent() : second;
}

std::vector<View> viewsOf(std::span<const View> views) { return {views.begin(), views.end()}; }

ChainedNorm::ChainedNorm(const NormAfter& a, std::span<const View> in, std::span<const View> out)
    : before(&a.chain),
      from(a.from),
      attrs(a.rows),
      width(a.width),
      dtype(a.dtype),
      beforeIn(viewsOf(in.subspan(passes::kNormInputs))),
      beforeOut(viewsOf(out.first(a.chain.outputs.size()))),
      stored(a.result != a.from),
      given(absent()),
      result(out[a.result]) {
  beforeOut[from].dtype = dtype;
  takeInputs(a.row, in.first(passes::kNormInputs));
  if (gradient) dw = out[out.size() - 2], db = out.back();
}

ChainedNorm::ChainedNorm(const WithEpilogue& a, std::span<const View> in, std::span<const View> out)
    : width(a.width), gradient(false) {
  const size_t chained = a.chain.outputs.size();
  const std::span<const View> own = in.first(a.inputs);
  std::vector<View> others = viewsOf(out.subspan(chained));
  if (a.row == &passes::normAfter.row()) {
    const auto& inner = *static_cast<const NormAfter*>(a.attrs.get());
    others.insert(others.begin() + int64_t(inner.result), absent());
    *this = ChainedNorm(inner, own, others);
  } else {
    dtype = own[0].dtype;
    attrs = passes::rowsOf(a.row, a.attrs.get(), dtype);
    given = own[0];
    takeInputs(a.row, own.subspan(1));
    if (gradient) dw = others[0], db = others[1];
  }
  result = absent();
  after = &a.chain;
  afterIn = viewsOf(in.subspan(a.inputs));
  afterOut = viewsOf(out.first(chained));
}

std::optional<DType> dtypeOf(const View& v) { return v.defined ? std::optional(v.dtype) : std::nullopt; }

RowPlan planOf(const ChainedNorm& c, std::initializer_list<const void*> memory) {
  RowPlan plan;
  visitFloat(c.dtype, [&]<class T>(TypeTag<T>) { plan = planRows<T>(c.width, c.most(), memory); });
  return plan;
}

/// What the first chain stores: not what is only normalised where that stays in registers.
template <class T>
std::vector<T> storedOf(const ChainedNorm& c, std::vector<T> outputs, bool held) {
  if (held && !c.stored) outputs.erase(outputs.begin() + int64_t(c.from));
  return outputs;
}

/// A kernel for rows of which threads hold so many packs, or that are looped over.
struct PreparedNorm {
  int held;
  std::optional<ChainOperands> before, after;
  std::shared_ptr<const RuntimeKernel> kernel;
};
using PreparedRef = std::shared_ptr<const PreparedNorm>;

PreparedRef preparedFor(const CudaDevice& device, const ChainedNorm& c, int held) {
  PreparedNorm p{.held = held, .before = {}, .after = {}, .kernel = {}};
  const int most = mostOfRows(c.dtype, c.width, c.beforeIn.size() + c.afterIn.size());
  cpu::Chain before;
  std::optional<ChainPart> first, second;
  NormChains chains;
  if (c.before) {
    before = *c.before;
    before.outputs = storedOf(c, c.before->outputs, held > 0);
    p.before.emplace(before, Arrangement(c.beforeIn, storedOf(c, c.beforeOut, held > 0), c.whole(), most));
    chains.before = &first.emplace(ChainPart{before, p.before->arrangement});
    chains.of = c.before->outputs[c.from];
  }
  if (c.after) {
    p.after.emplace(*c.after, Arrangement(c.afterIn, c.afterOut, c.whole(), most));
    chains.after = &second.emplace(ChainPart{*c.after, p.after->arrangement});
  }
  const NormKind kind{
      .dtype = c.dtype, .gradient = c.gradient, .held = held, .weight = dtypeOf(c.weight), .bias = dtypeOf(c.bias)};
  p.kernel = runtimeKernel(device, normSource(kind, chains));
  return std::make_shared<const PreparedNorm>(std::move(p));
}

/// Memory for what lies between a norm and the chains around it where rows are looped over, if it has no place.
struct Between {
  std::optional<Scratch> given, result;
  Between(const ChainedNorm& c, size_t bytes) {
    if (c.after && !c.storedAfter()) result.emplace(bytes);
    if (c.before && !c.stored && c.gradient) given.emplace(bytes);
  }
};

/// A norm is made in the place of what it is made of, a gradient is not: sums for weight and bias are made of that,
/// too.
void setPlaces(ChainedNorm& c, const Between& between) {
  const auto put = [&](View& v, std::byte* memory) { v.memory = memory, v.dtype = c.dtype, v.defined = true; };
  if (c.storedAfter()) put(c.result, c.afterOut[0].memory);
  else if (between.result) put(c.result, between.result->as<std::byte>());
  if (!c.before) return;
  if (c.stored) put(c.given, c.beforeOut[c.from].memory);
  else put(c.given, between.given ? between.given->as<std::byte>() : c.result.memory);
  c.beforeOut[c.from].memory = c.given.memory;
}

/// Starts the kernel; `sums` are the further arguments of gradients.
void start(const ChainedNorm& c, const PreparedNorm& p, unsigned blocks, const RowPlan& plan, const Rows& rows,
           std::initializer_list<const void*> sums) {
  KernelArguments arguments;
  if (p.before) p.before->addTo(arguments, c.beforeIn, storedOf(c, c.beforeOut, plan.held > 0));
  if (p.after) p.after->addTo(arguments, c.afterIn, c.afterOut);
  for (const View* v : {&c.given, &c.x, &c.weight, &c.bias, &c.result}) arguments.add(Parameter(*v).memory);
  for (const void* memory : sums) arguments.add(memory);
  arguments.add(rows);
  p.kernel->launch(blocks, plan.block, arguments);
}

void startGradient(const ChainedNorm& c, const PreparedNorm& p, const RowPlan& plan, const Rows& rows) {
  visitFloat(c.dtype, [&]<class T>(TypeTag<T>) {
    using C = Computed<T>;
    if (plan.held > 0) {
      const GroupSums<C> sums(plan, rows);
      start(c, p, sums.blocks(), plan, rows, {nullptr, sums.toWeight(), sums.toBias()});
      sums.finish(c.dw.as<C>(), c.db.as<C>());
    } else {
      const Scratch memory(size_t(rows.rows) * sizeof(Statistics<C>));
      auto* statistics = memory.as<Statistics<C>>();
      start(c, p, plan.blocksFor(rows.rows), plan, rows, {statistics, nullptr, nullptr});
      sumParameters(c.given.as<T>(), c.x.as<T>(), statistics, rows, c.dw.as<C>(), c.db.as<C>());
    }
  });
}

/// `prepared` is a kernel for operands that are aligned; another takes its place for those that are not.
void compute(ChainedNorm c, std::shared_ptr<const void>& prepared) {
  const RowPlan plan = planOf(c, {c.given.memory, c.x.memory, c.result.memory});
  const Rows rows = rowsOf(c.attrs, c.whole().shape);
  auto p = std::static_pointer_cast<const PreparedNorm>(prepared);
  if (!p || p->held != plan.held) prepared = p = preparedFor(current(), c, plan.held);
  std::optional<Between> between;
  if (plan.held == 0) setPlaces(c, between.emplace(c, size_t(rows.rows * rows.size) * itemSize(c.dtype)));
  if (c.gradient) startGradient(c, *p, plan, rows);
  else start(c, *p, plan.blocksFor(rows.rows), plan, rows, {});
}

void normAfterCuda(const Call<NormAfter>& call) { compute({call.attrs, call.in, call.out}, call.attrs.prepared); }

const Implement<NormAfter> normAfterOnCuda("fusedNorm", DeviceType::Cuda, normAfterCuda);

template <class A>
void prepare(const CudaDevice& device, const A& attrs, std::span<const View> in, std::span<const View> out) {
  const ChainedNorm c(attrs, in, out);
  attrs.prepared = preparedFor(device, c, planOf(c, {}).held);
}

}  // namespace

void normEpilogueCuda(const Call<WithEpilogue>& call) { compute({call.attrs, call.in, call.out}, call.attrs.prepared); }

void prepareNorms(CudaDevice& device, const Row& row, const void* attrs, std::span<const View> in,
                  std::span<const View> out) {
  if (&row == &passes::normAfter.row()) prepare(device, *static_cast<const NormAfter*>(attrs), in, out);
  if (&row != &passes::withEpilogue.row()) return;
  const auto& a = *static_cast<const WithEpilogue*>(attrs);
  if (!a.form) prepare(device, a, in, out);
}

}  // namespace anneal::cuda
