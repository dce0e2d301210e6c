#include "graph/program.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <set>

#include "core/access.h"
#include "graph/passes/passes.h"
#include "ops/views.h"
#include "runtime/context.h"
#include "runtime/cpu_device.h"

namespace anneal {
namespace {

// Scalar operations that a caller may do itself rather than queue, in one operation and in all.
constexpr double kSmallOperation = 8192, kSmallProgram = 65536;

/// Makes the memory of a tensor follow the order of its axes.
void settle(TensorImpl& impl) {
  if (isContiguous(impl.spec.shape, impl.strides)) return;
  GradMode off(false);
  Tensor copy = ops::contiguous(Tensor(Ref<TensorImpl>(&impl)).detach());
  impl.storage = copy.impl()->storage;
  impl.strides = copy.strides();
  impl.offset = 0;
}

Tensor settled(const Tensor& t) {
  GradMode off(false);
  return t.contiguous() ? t : ops::contiguous(t.detach());
}

void optimize(Graph& graph) {
  passes::removeDead(graph);
  passes::foldConstants(graph);
  passes::simplify(graph);
  passes::shareCommon(graph);
  passes::removeDead(graph);
  passes::fuseConvolutions(graph);
  passes::hoist(graph);
  passes::fuseElementwise(graph);
}

/// A number that no other value in this environment's memory has; it is taken away when the memory is written over.
uint64_t stampOf(Block& block) {
  thread_local uint64_t last = 0;
  if (block.stamp == 0) block.stamp = ++last;
  return block.stamp;
}

std::shared_ptr<const Error> outOfMemory(const Operation& operation) {
  return std::make_shared<const Error>(Code::Memory, operation.row->name + ": out of memory for working space");
}

}  // namespace

/// What all runs share. Only one run is under way at a time.
struct Program::Compiled {
  struct Step {
    const Row::Kernel* kernel;
    const Operation* operation;
    std::vector<View> views;
    double nanoseconds = -1;
  };
  std::unique_ptr<Graph> graph;
  Plan plan;
  std::vector<Step> prologue, steps;
  std::vector<int> outside, owned, inArena, kept;  // values, by where they lie
  // The prologue's results, by value, and what the cells held that they are of. A run that fails makes them stale.
  std::vector<Ref<Block>> keptMemory;
  std::vector<bool> lasting;  // by value: whether it is read after the prologue
  std::vector<size_t> prologueCells;
  std::vector<uint64_t> stamps;
  std::atomic<bool> stale{true};
  bool small = true;
  std::atomic<bool> profile{false};
};

/// One run: where the values lie. Memory may change hands while it is queued, as for any task.
struct Program::Execution {
  /// The old value of a cell that gets new memory: it stays if the run fails.
  struct Kept {
    const std::byte* from;
    Block* to;
    size_t bytes;
  };
  std::shared_ptr<Compiled> compiled;
  std::vector<std::byte*> bases;  // by value
  std::vector<std::array<std::byte, 16>> scalars;
  std::vector<Block*> reads, writes;  // from outside; of new memory that outlives the run
  std::vector<Kept> kept;
  bool withPrologue = false;

  void perform() {
    std::shared_ptr<const Error> fault;
    for (const Block* b : reads)
      if (b->fault) [[unlikely]]
        fault = b->fault;
    const bool profile = compiled->profile.exchange(false);
    if (!fault && withPrologue) fault = compute(compiled->prologue, profile);
    if (fault && withPrologue) compiled->stale.store(true);
    if (!fault) fault = compute(compiled->steps, profile);
    for (Block* b : writes) b->fault = fault;
    if (!fault) [[likely]]
      return;
    for (const Kept& k : kept) {
      allowAccess(k.to->data, k.bytes);
      std::memcpy(k.to->data, k.from, k.bytes);
      k.to->fault = nullptr;
    }
  }

 private:
  std::shared_ptr<const Error> compute(std::vector<Compiled::Step>& steps, bool profile) {
    for (auto& step : steps) {
      const Operation& operation = *step.operation;
      for (size_t i = 0; i < step.views.size(); ++i) {
        const Operand& o = operation.operands[i];
        if (o.value >= 0) step.views[i].memory = bases[size_t(o.value)] + o.offset;
      }
      const auto start = profile ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
      try {
        const std::span<const View> views(step.views), in = views.first(operation.inputs),
                                                       out = views.subspan(operation.inputs);
        if constexpr (kTracksAccess) allowOutputs(in, out);
        (*step.kernel)(operation.attrs.get(), in, out);
      } catch (const Error& e) {
        return std::make_shared<const Error>(e);
      } catch (const std::bad_alloc&) {
        return outOfMemory(operation);
      } catch (const std::exception& e) {
        return std::make_shared<const Error>(Code::Internal, operation.row->name + ": " + e.what());
      }
      if (profile) step.nanoseconds = double((std::chrono::steady_clock::now() - start).count());
    }
    return nullptr;
  }
};

Program::Program(std::unique_ptr<Graph> graph) : compiled_(std::make_shared<Compiled>()) {
  optimize(*graph);
  Compiled& c = *compiled_;
  c.plan = planMemory(*graph);
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
void Program::profileNext() { compiled_->profile.store(true); }

bool Program::fits(Inputs arguments) const {
  const Graph& g = *compiled_->graph;
  if (arguments.size() != g.arguments.size()) return false;
  for (size_t i = 0; i < arguments.size(); ++i)
    if (!(arguments[i].spec() == g.arguments[i])) return false;
  for (const Cell& cell : g.cells)
    if (!(cell.impl->spec == cell.spec) || !(cell.impl->provenance.leaf == cell.leaf)) return false;
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

/// Memory for what outlives the run. Until here nothing has changed.
void Program::takeMemory(Execution& run, std::vector<Ref<Block>>& owned) const {
  const Graph& g = *compiled_->graph;
  owned.resize(g.values.size());
  for (int v : compiled_->owned) {
    Ref<Block>& memory = owned[size_t(v)];
    const int cell = compiled_->plan.places[size_t(v)].cell;
    if (cell >= 0) {
      const auto& old = g.cells[size_t(cell)].impl->storage;
      if (old && old->references() == 1 && old->kind == Block::Kind::Pooled) memory = old;
    }
    if (!memory) {
      memory = g.device->allocate(g.values[size_t(v)].spec, false);
      run.writes.push_back(memory.get());
    }
    run.bases[size_t(v)] = memory->data;
  }
  for (const Cell& c : g.cells) {
    if (c.written < 0 || compiled_->plan.places[size_t(c.written)].home != Plan::Home::Own) continue;
    const Ref<Block>& memory = owned[size_t(c.written)];
    if (!memory || memory == c.impl->storage) continue;
    settle(*c.impl);
    const View old = Tensor(c.impl).view();
    if (old.memory) run.kept.push_back({old.memory, memory.get(), size_t(old.size()) * itemSize(old.dtype)});
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
  }
  const bool known = std::find(stamps.begin(), stamps.end(), 0) == stamps.end();
  const bool changed = !c.kept.empty() && (c.stale.exchange(true) || !known || stamps != c.stamps);
  for (int v : c.kept) {
    Ref<Block>& memory = c.keptMemory[size_t(v)];
    if (changed) {
      memory = c.graph->device->allocate(c.graph->values[size_t(v)].spec, false);
      run.writes.push_back(memory.get());
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
    auto impl = makeRef<TensorImpl>();
    impl->spec = {o.view.shape, o.view.dtype};
    impl->strides = o.view.strides;
    impl->offset = offset;
    impl->device = compiled_->graph->device;
    impl->storage = owned[v];
    out.push_back(Tensor(impl));
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
    auto impl = makeRef<TensorImpl>();
    impl->spec = g.values[size_t(l.written)].spec;
    impl->strides = contiguousStrides(impl->spec.shape);
    impl->device = g.device;
    impl->storage = owned[size_t(l.written)];
    l.leaf->grad = Tensor(impl);
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
  run->scalars.reserve(compiled_->outside.size());
  Tensors bound(g.values.size());
  for (int v : compiled_->outside) {
    Tensor& t = bound[size_t(v)];
    t = boundTo(v, arguments, numbers);
    const View view = t.view();
    if (view.block) run->reads.push_back(view.block);
    run->bases[size_t(v)] = view.memory ? view.memory : run->scalars.emplace_back(view.scalar).data();
  }
  std::vector<Ref<Block>> owned;
  takeMemory(*run, owned);
  const size_t arenaBytes = compiled_->plan.arena;
  const Ref<Block> arena = arenaBytes ? g.device->allocate({{int64_t(arenaBytes)}, DType::UInt8}, false) : Ref<Block>();
  if (arena)
    for (int v : compiled_->inArena) run->bases[size_t(v)] = arena->data + compiled_->plan.places[size_t(v)].offset;
  std::vector<Ref<Block>> passing;
  run->withPrologue = renewKept(*run, passing);
  Tensors results = outputs(bound, owned);
  if (compiled_->small && g.device->idle()) run->perform();
  else g.device->enqueue([run] { run->perform(); });
  leaveState(owned);
  return results;
}

std::vector<Description> Program::describe() const {
  const Graph& g = *compiled_->graph;
  std::vector<Description> out;
  auto named = [&](const Operand& o) {
    static constexpr const char* kinds[] = {"%", "argument", "cell", "gradient", "constant", "number", "key", "kept %"};
    if (!o.view.defined) return std::string("none");
    if (o.value < 0) return text(o.view.dtype, " literal");
    const Value& v = g.values[size_t(o.value)];
    const bool result = v.kind == Value::Kind::Result || v.kind == Value::Kind::Kept;
    return text(kinds[size_t(v.kind)], result ? int64_t(o.value) : v.index, ' ', o.view.dtype, o.view.shape);
  };
  auto add = [&](const Compiled::Step& step) {
    Description d{
        .name = step.operation->row->name, .operations = step.operation->cost, .nanoseconds = step.nanoseconds};
    for (const Operand& o : step.operation->in()) d.inputs.push_back(named(o));
    for (const Operand& o : step.operation->out()) d.outputs.push_back(named(o));
    std::ostringstream attributes;
    const char* comma = "";
    for (const Field& f : step.operation->row->fields) {
      attributes << comma << f.name << '=';
      f.print(step.operation->attrs.get(), attributes);
      comma = ", ";
    }
    d.attributes = step.operation->note.empty() ? attributes.str() : step.operation->note;
    for (const Operand& o : step.operation->operands)
      if (o.view.defined) d.bytes += double(o.view.size()) * double(itemSize(o.view.dtype));
    out.push_back(std::move(d));
  };
  for (const auto& step : compiled_->prologue) add(step);
  for (const auto& step : compiled_->steps) add(step);
  return out;
}

}  // namespace anneal
