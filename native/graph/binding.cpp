// What a run of a program reads from outside, and what it leaves behind.
#include <algorithm>

#include "graph/capture.h"
#include "graph/execution.h"
#include "graph/program.h"
#include "runtime/context.h"

namespace anneal {
namespace {

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

/// Where a cell's value lies, in the order of its axes; null: it is a scalar that is not in memory.
const std::byte* valueOf(TensorImpl& cell) {
  settle(cell);
  return Tensor(Ref<TensorImpl>(&cell)).view().memory;
}

/// The block, if it is of a pool: others may be gone when a queued run comes to them, though their memory is not.
Block* pooled(const Ref<Block>& block) { return block && block->kind == Block::Kind::Pooled ? block.get() : nullptr; }

/// The memory of a cell, if it is whole and nobody else holds it.
Ref<Block> ownMemory(const TensorImpl& cell) {
  const Ref<Block>& memory = cell.storage;
  const bool own = memory && memory->references() == 1 && memory->kind == Block::Kind::Pooled && cell.offset == 0 &&
                   isContiguous(cell.spec.shape, cell.strides);
  return own ? memory : Ref<Block>();
}

/// A number that no other value in this environment's memory has; it is taken away when the memory is written over.
uint64_t stampOf(Block& block) {
  thread_local uint64_t last = 0;
  if (block.stamp == 0) block.stamp = ++last;
  return block.stamp;
}

}  // namespace

bool Program::fits(Inputs arguments, bool recordsGradients) const {
  const Graph& g = *compiled_->graph;
  if (arguments.size() != g.arguments.size()) return false;
  for (size_t i = 0; i < arguments.size(); ++i)
    if (!(arguments[i].spec() == g.arguments[i])) return false;
  for (const Tensor& t : arguments)
    if ((t.impl()->storage && &t.device() != g.device) || (recordsGradients && t.requiresGrad())) return false;
  for (const Cell& cell : g.cells)
    if (!(cell.impl->spec == cell.spec) || (cell.impl->storage && cell.impl->device != g.device) ||
        !(cell.decided || cell.impl->provenance.leaf == cell.leaf))
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
    if (old) run.kept.push_back({old, pooled(c.impl->storage), memory.get(), g.values[size_t(c.written)].bytes()});
  }
}

/// New memory for the prologue's results where a cell that it reads has changed; then it is to run. Those that only the
/// prologue reads are given back to `passing`. The last that may fail before a run.
bool Program::renewKept(Execution& run, std::vector<Ref<Block>>& passing) const {
  Compiled& c = *compiled_;
  std::vector<Compiled::Held> held;
  for (size_t cell : c.prologueCells) {
    const TensorImpl& impl = *c.graph->cells[cell].impl;
    held.push_back({impl.storage ? stampOf(*impl.storage) : 0, impl.offset});
    if (Block* const block = pooled(impl.storage)) run.weights.push_back(block);
  }
  const bool known = std::none_of(held.begin(), held.end(), [](const auto& h) { return h.stamp == 0; });
  // Cleared first: a prologue that is under way may fail while this looks on.
  const bool stale = c.stale.exchange(false);
  const bool changed = !c.kept.empty() && (stale || !known || held != c.held);
  c.held.clear();  // if there is no memory, they stay unknown
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
  c.held = std::move(held);
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
    require(bool(owned[size_t(c.written)]), Code::Internal, "compile: a run has left no memory to what it assigns");
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

}  // namespace anneal
