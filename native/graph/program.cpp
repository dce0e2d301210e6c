#include "graph/program.h"

#include <algorithm>
#include <set>

#include "graph/capture.h"
#include "graph/execution.h"
#include "graph/passes/passes.h"
#include "graph/replay.h"
#include "runtime/backend.h"
#include "runtime/context.h"

namespace anneal {
namespace {

// Scalar operations that a caller may do itself rather than queue, in one operation and in all.
constexpr double kSmallOperation = 8192, kSmallProgram = 65536;

/// Makes the memory of a tensor follow the order of its axes.
void settle(TensorImpl& impl) {
  if (isContiguous(impl.spec.shape, impl.strides)) return;
  const Tensor copy = settled(Tensor(Ref<TensorImpl>(&impl)));
  impl.storage = copy.impl()->storage;
  impl.strides = copy.strides();
  impl.offset = 0;
}

/// A tensor over memory that is there already.
Tensor tensorOver(const Ref<Block>& memory, const Spec& spec, const Strides& strides, int64_t offset, Device& device) {
  auto impl = makeRef<TensorImpl>();
  impl->spec = spec;
  impl->strides = strides;
  impl->offset = offset;
  impl->device = &device;
  impl->storage = memory;
  return Tensor(impl);
}

void optimize(Graph& graph) {
  passes::removeDead(graph);
  passes::foldConstants(graph);
  passes::simplify(graph);
  passes::shareCommon(graph);
  passes::removeDead(graph);
  passes::mergeClipping(graph);
  passes::splitUpdates(graph);
  passes::recompute(graph);
  passes::fuseConvolutions(graph);
  passes::fuseQuantized(graph);
  passes::hoist(graph);
  passes::fuseChannelNorms(graph);
  passes::fuseElementwise(graph);
  // A GPU's products add a residual on their way to memory: norms get what these leave.
  const bool onGpu = graph.device->type() != DeviceType::Cpu;
  if (onGpu) passes::fuseEpilogues(graph, passes::Producers::Products);
  passes::fuseNorms(graph);
  passes::fuseEpilogues(graph, onGpu ? passes::Producers::Norms : passes::Producers::All);
  passes::fuseReductions(graph);
  if (onGpu) passes::joinCasts(graph);
  passes::schedule(graph);
  if (onGpu) passes::joinSums(graph);
}

/// Where a cell's value lies, in the order of its axes; null: it is a scalar that is not in memory.
const std::byte* valueOf(TensorImpl& cell) {
  settle(cell);
  return Tensor(Ref<TensorImpl>(&cell)).view().memory;
}

/// The memory of a cell, if it is whole and nobody else holds it.
Ref<Block> ownMemory(const TensorImpl& cell) {
  const Ref<Block>& memory = cell.storage;
  const bool own = memory && memory->references() == 1 && memory->kind == Block::Kind::Pooled && cell.offset == 0 &&
                   isContiguous(cell.spec.shape, cell.strides);
  return own ? memory : Ref<Block>();
}

/// Lets a backend compile what the graph's operations need, in the background.
void prepareKernels(const Graph& graph) {
  std::string problem;
  const Backend* cuda = graph.device->type() == DeviceType::Cuda ? cudaBackend(problem) : nullptr;
  if (!cuda) return;
  const auto prepare = [&](const Operation& operation) {
    std::vector<View> views;
    for (const Operand& o : operation.operands) views.push_back(o.view);
    const std::span<const View> all(views);
    cuda->prepare(*graph.device, *operation.row, operation.attrs.get(), all.first(operation.inputs),
                  all.subspan(operation.inputs));
  };
  for (const Operation& operation : graph.prologue) prepare(operation);
  for (const Operation& operation : graph.operations) prepare(operation);
}

/// A number that no other value in this environment's memory has; it is taken away when the memory is written over.
uint64_t stampOf(Block& block) {
  thread_local uint64_t last = 0;
  if (block.stamp == 0) block.stamp = ++last;
  return block.stamp;
}

}  // namespace

Program::Program(std::unique_ptr<Graph> graph) : compiled_(std::make_shared<Compiled>()) {
  DeviceScope on(*graph->device);
  optimize(*graph);
  prepareKernels(*graph);
  Compiled& c = *compiled_;
  c.steady = Steady::of(*graph->device);
  c.plan = planMemory(*graph, bool(c.steady));
  double total = 0;
  auto stepsOf = [&](const std::vector<Operation>& operations, std::vector<Compiled::Step>& steps) {
    for (const Operation& operation : operations) {
      std::vector<View> views;
      for (const Operand& o : operation.operands) views.push_back(o.view);
      steps.push_back({.kernel = &operation.row->kernels[size_t(graph->device->type())],
                       .operation = &operation,
                       .views = std::move(views)});
      c.small &= operation.cost <= kSmallOperation;
      total += operation.cost;
    }
  };
  stepsOf(graph->prologue, c.prologue);
  stepsOf(graph->operations, c.steps);
  c.small &= total <= kSmallProgram;
  for (size_t v = 0; v < graph->values.size(); ++v) {
    const auto home = c.plan.places[v].home;
    if (graph->values[v].kind == Value::Kind::Kept) c.kept.push_back(int(v));
    else if (home == Plan::Home::Outside) c.outside.push_back(int(v));
    else if (home == Plan::Home::Own) c.owned.push_back(int(v));
    else if (home == Plan::Home::Arena) c.inArena.push_back(int(v));
  }
  c.keptMemory.resize(graph->values.size());
  c.lasting.resize(graph->values.size());
  for (const Operation& operation : graph->operations)
    for (const Operand& o : operation.in())
      if (o.value >= 0) c.lasting[size_t(o.value)] = true;
  std::set<size_t> cells;
  for (const Operation& operation : graph->prologue)
    for (const Operand& o : operation.in())
      if (o.value >= 0 && graph->values[size_t(o.value)].kind == Value::Kind::Cell)
        cells.insert(size_t(graph->values[size_t(o.value)].index));
  c.prologueCells.assign(cells.begin(), cells.end());
  c.stamps.resize(cells.size());
  c.graph = std::move(graph);
}

size_t Program::numbers() const { return size_t(compiled_->graph->numbers); }
size_t Program::arenaBytes() const { return compiled_->plan.arena; }
size_t Program::liveBytes() const { return compiled_->plan.bound(); }
void Program::profileNext() { compiled_->profile.store(true); }

bool Program::fits(Inputs arguments) const {
  const Graph& g = *compiled_->graph;
  if (arguments.size() != g.arguments.size()) return false;
  for (size_t i = 0; i < arguments.size(); ++i)
    if (!(arguments[i].spec() == g.arguments[i])) return false;
  for (const Tensor& t : arguments)
    if (t.impl()->storage && &t.device() != g.device) return false;
  for (const Cell& cell : g.cells)
    if (!(cell.impl->spec == cell.spec) || (cell.impl->storage && cell.impl->device != g.device) ||
        !(cell.impl->provenance.leaf == cell.leaf))
      return false;
  for (const LeafState& l : g.leaves) {
    if (l.read && bool(l.leaf->grad) != l.defined) return false;
    if (l.value >= 0 && !(l.leaf->grad.spec() == g.values[size_t(l.value)].spec)) return false;
  }
  return true;
}

/// What stands for a value from outside in this run.
Tensor Program::boundTo(int v, Inputs arguments, std::span<const double> numbers) const {
  const Graph& g = *compiled_->graph;
  const Generator& generator = Context::current().generator;
  const Value& value = g.values[size_t(v)];
  const auto i = size_t(value.index);
  switch (value.kind) {
    case Value::Kind::Argument: return settled(arguments[i]);
    case Value::Kind::Cell: settle(*g.cells[i].impl); return Tensor(g.cells[i].impl);
    case Value::Kind::Gradient: return settled(g.leaves[i].leaf->grad);
    case Value::Kind::Constant: return g.constants[i];
    case Value::Kind::Number: return scalarTensor(numbers[i], DType::Float64);
    case Value::Kind::Key: return keyTensor(generator.seed, generator.offset + value.index);
    case Value::Kind::Kept:
    case Value::Kind::Result: break;
  }
  fail(Code::Internal, "compile: a result is not bound from outside");
}

/// Finds what the run reads from outside.
void Program::bind(Execution& run, Tensors& bound, Inputs arguments, std::span<const double> numbers) const {
  run.scalars.reserve(compiled_->outside.size());
  for (int v : compiled_->outside) {
    Tensor& t = bound[size_t(v)];
    t = boundTo(v, arguments, numbers);
    const View view = t.view();
    if (view.block) run.reads.push_back(view.block);
    std::byte*& base = run.bases[size_t(v)];
    if (compiled_->steady) base = run.visit.bring(compiled_->plan.places[size_t(v)], view);
    else if (view.memory) base = view.memory;
    else base = run.scalars.emplace_back(view.scalar).data();
  }
}

/// Memory for what outlives the run. Until here nothing has changed.
void Program::takeMemory(Execution& run, std::vector<Ref<Block>>& owned) const {
  const Graph& g = *compiled_->graph;
  owned.resize(g.values.size());
  for (int v : compiled_->owned) {
    Ref<Block>& memory = owned[size_t(v)];
    const Value& value = g.values[size_t(v)];
    const Plan::Place& place = compiled_->plan.places[size_t(v)];
    if (place.cell >= 0) memory = ownMemory(*g.cells[size_t(place.cell)].impl);
    if (!memory) {
      memory = g.device->allocate(value.spec, false);
      run.writes.push_back(memory.get());
    } else if (compiled_->steady && place.keeps < 0) {
      run.overwritten.push_back(memory.get());
    }
    const std::byte* const old = place.keeps < 0 ? nullptr : valueOf(*g.cells[size_t(place.keeps)].impl);
    if (old) run.held.push_back({memory.get(), old});
    run.bases[size_t(v)] = place.visits ? run.visit.take(place, memory->data, value.bytes(), old) : memory->data;
  }
  for (const Cell& c : g.cells) {
    if (c.written < 0 || compiled_->plan.places[size_t(c.written)].home != Plan::Home::Own) continue;
    const Ref<Block>& memory = owned[size_t(c.written)];
    if (!memory || memory == c.impl->storage) continue;
    const std::byte* const old = valueOf(*c.impl);
    if (old) run.kept.push_back({old, c.impl->storage.get(), memory.get(), g.values[size_t(c.written)].bytes()});
  }
}

/// New memory for the prologue's results where a cell that it reads has changed; then it is to run. Those that only the
/// prologue reads are given back to `passing`. The last that may fail before a run.
bool Program::renewKept(Execution& run, std::vector<Ref<Block>>& passing) const {
  Compiled& c = *compiled_;
  std::vector<uint64_t> stamps;
  for (size_t cell : c.prologueCells) {
    const auto& storage = c.graph->cells[cell].impl->storage;
    stamps.push_back(storage ? stampOf(*storage) : 0);
    if (storage) run.weights.push_back(storage.get());
  }
  const bool known = std::find(stamps.begin(), stamps.end(), 0) == stamps.end();
  const bool changed = !c.kept.empty() && (c.stale.exchange(true) || !known || stamps != c.stamps);
  for (int v : c.kept) {
    Ref<Block>& memory = c.keptMemory[size_t(v)];
    if (changed) {
      if (!memory || !c.steady) memory = c.graph->device->allocate(c.graph->values[size_t(v)].spec, false);
      run.prepared.push_back(memory.get());
    } else if (memory) {
      run.reads.push_back(memory.get());
    }
    run.bases[size_t(v)] = memory ? memory->data : nullptr;
    if (!c.lasting[size_t(v)]) passing.push_back(std::move(memory));
  }
  c.stamps = std::move(stamps);
  c.stale.store(false);
  return changed;
}

Tensors Program::outputs(const Tensors& bound, const std::vector<Ref<Block>>& owned) const {
  Tensors out;
  for (const Operand& o : compiled_->graph->outputs) {
    const auto v = size_t(o.value);
    const int64_t offset = o.offset / int64_t(itemSize(o.view.dtype));
    if (bound[v]) {
      out.push_back(bound[v].detach().alias(o.view.shape, o.view.strides, bound[v].impl()->offset + offset));
      continue;
    }
    out.push_back(
        tensorOver(owned[v], {o.view.shape, o.view.dtype}, o.view.strides, offset, *compiled_->graph->device));
  }
  return out;
}

/// Gives cells and leaves what the run leaves behind.
void Program::leaveState(const std::vector<Ref<Block>>& owned) const {
  const Graph& g = *compiled_->graph;
  for (const Cell& c : g.cells) {
    if (c.written < 0) continue;
    c.impl->storage = owned[size_t(c.written)];
    c.impl->storage->stamp = 0;
    c.impl->strides = contiguousStrides(c.spec.shape);
    c.impl->offset = 0;
    c.impl->isScalar = false;
  }
  for (const LeafState& l : g.leaves) {
    if (!l.changed) continue;
    l.leaf->grad = Tensor();
    if (l.written < 0) continue;
    const Spec& spec = g.values[size_t(l.written)].spec;
    l.leaf->grad = tensorOver(owned[size_t(l.written)], spec, contiguousStrides(spec.shape), 0, *g.device);
  }
  Context::current().generator.offset += g.randomSteps;
}

Tensors Program::run(Inputs arguments, std::span<const double> numbers) {
  const Graph& g = *compiled_->graph;
  require(numbers.size() == size_t(g.numbers), Code::Internal, "compile: expected ", g.numbers, " numbers; got ",
          numbers.size());
  auto run = std::make_shared<Execution>();
  run->compiled = compiled_;
  run->bases.resize(g.values.size());
  const Plan& plan = compiled_->plan;
  Tensors bound(g.values.size());
  std::vector<Ref<Block>> owned;
  Ref<Block> arena;
  if (compiled_->steady) {
    arena = compiled_->steady->arena->take(plan.arena + plan.slots * sizeof(Recorder::Slot));
    run->visit = Visit(plan, arena->data);
    bind(*run, bound, arguments, numbers);
    takeMemory(*run, owned);
  } else {
    bind(*run, bound, arguments, numbers);
    takeMemory(*run, owned);
    if (plan.arena) arena = g.device->allocate({{int64_t(plan.arena)}, DType::UInt8}, false);
  }
  if (arena)
    for (int v : compiled_->inArena) run->bases[size_t(v)] = arena->data + plan.places[size_t(v)].offset;
  std::vector<Ref<Block>> passing;
  run->withPrologue = renewKept(*run, passing);
  Tensors results = outputs(bound, owned);
  if (compiled_->small && g.device->type() == DeviceType::Cpu && g.device->idle()) run->perform();
  else g.device->enqueue([run] { run->perform(); });
  leaveState(owned);
  return results;
}

}  // namespace anneal
