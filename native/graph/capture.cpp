#include "graph/capture.h"

#include <atomic>

#include "ops/views.h"
#include "runtime/context.h"

namespace anneal {
namespace {

std::atomic<uint64_t> nextSerial{1};

}  // namespace

Tensor settled(const Tensor& t) {
  if (t.contiguous()) return t;
  CapturePause pause;
  GradMode off(false);
  return ops::contiguous(t.detach());
}

CapturePause::CapturePause() : paused_(std::exchange(Context::current().capture, nullptr)) {}
CapturePause::~CapturePause() { Context::current().capture = paused_; }

Capture* Capture::current() { return Context::current().capture; }

Capture::Capture(const std::vector<Spec>& arguments, Device& device)
    : context_(Context::current()), serial_(nextSerial.fetch_add(1)) {
  require(!context_.capture, Code::Internal, "compile: a function is being captured already");
  startSeed_ = context_.generator.seed;
  startOffset_ = context_.generator.offset;
  graph_->device = &device;
  startDevice_ = std::exchange(context_.device, &device);
  graph_->arguments = arguments;
  for (size_t i = 0; i < arguments.size(); ++i)
    arguments_.push_back(
        symbol(graph_->add({.kind = Value::Kind::Argument, .spec = arguments[i], .index = int64_t(i)})));
  context_.capture = this;
}

Capture::~Capture() { restore(); }

/// Puts back what was there before the capture: it computed nothing.
void Capture::restore() {
  if (context_.capture != this) return;
  context_.capture = nullptr;
  context_.device = startDevice_;
  context_.generator.seed = startSeed_;
  context_.generator.offset = startOffset_;
  for (auto& [leaf, state] : leaves_) leaf->grad = state.second;
}

void Capture::requireAlive(const Tensor& t) {
  if (!t.symbolic()) [[likely]]
    return;
  const Capture* now = current();
  require(now && t.symbol().capture == now->serial_, Code::State,
          "the tensor was made while compile() captured a function and has no value outside of it; return it from the "
          "function");
}

void Capture::requireHere(const Tensor& t) const {
  require(&t.device() == graph_->device, Code::Device, "compile: the function works on ", graph_->device->name(),
          " and uses a tensor on ", t.device().name(), "; move it with to() before");
}

Tensor Capture::symbol(int value, bool weak) {
  const Spec& spec = graph_->values[size_t(value)].spec;
  auto impl = makeRef<TensorImpl>();
  impl->spec = spec;
  impl->strides = contiguousStrides(spec.shape);
  impl->device = graph_->device;
  impl->weak = weak;
  impl->storage = Ref<Block>(new SymbolicBlock({serial_, value}));
  return Tensor(impl);
}

const Tensor& Capture::seen(const Tensor& t) {
  if (t.symbolic()) {
    requireAlive(t);
    return t;
  }
  if (t.impl()->storage) requireHere(t);
  CellState& cell = cellOf(t);
  Cell& entry = graph_->cells[cell.index];
  if (entry.value < 0 && !cell.now) {
    entry.value = graph_->add({.kind = Value::Kind::Cell, .spec = t.spec(), .index = int64_t(cell.index)});
    cell.now = symbol(entry.value);
  }
  cell.now.impl()->provenance = t.impl()->provenance;
  return cell.now;
}

Capture::CellState& Capture::cellOf(const Tensor& t) {
  auto [found, added] = cells_.try_emplace(t.impl());
  if (added) {
    found->second = {.index = graph_->cells.size(), .now = {}};
    graph_->cells.push_back({.impl = Ref<TensorImpl>(t.impl()), .spec = t.spec(), .leaf = t.impl()->provenance.leaf});
  }
  return found->second;
}

void Capture::decide(const Tensor& t) {
  const bool met = cells_.contains(t.impl());
  if (!met && !t.symbolic()) graph_->cells[cellOf(t).index].decided = true;
}

Tensor Capture::constant(const Tensor& t) {
  auto [found, added] = constants_.try_emplace(t.impl(), t, Tensor());
  Tensor& known = found->second.second;
  if (added) {
    graph_->constants.push_back(settled(t).detach());
    known = symbol(
        graph_->add({.kind = Value::Kind::Constant, .spec = t.spec(), .index = int64_t(graph_->constants.size()) - 1}));
  }
  known.impl()->provenance = t.impl()->provenance;
  return known;
}

int Capture::valueOf(const Tensor& t) {
  requireAlive(t);
  return t.symbol().value;
}

Operand Capture::operand(const Tensor& t) const {
  Operand o;
  if (!t) {
    o.view.defined = false;
    return o;
  }
  o.view.shape = t.shape();
  o.view.strides = t.strides();
  o.view.dtype = t.dtype();
  o.view.weak = t.impl()->weak;
  if (t.symbolic()) {
    o.value = t.symbol().value;
    o.offset = t.impl()->offset * int64_t(itemSize(t.dtype()));
  } else if (t.impl()->isScalar) {
    o.view.scalar = t.impl()->scalar;
  }
  return o;
}

Tensors Capture::emit(const Row& row, const AttrsRef& attrs, Inputs in, const Specs& specs) {
  Operation operation{.row = &row, .attrs = attrs, .inputs = in.size(), .region = region_};
  for (const Tensor& t : in)
    operation.operands.push_back(operand(t && !row.reads(t, graph_->device->type()) ? copied(t) : t));
  Tensors out;
  for (const Spec& spec : specs) {
    out.push_back(symbol(graph_->add({.spec = spec})));
    operation.operands.push_back(operand(out.back()));
  }
  std::vector<View> views;
  for (const Operand& o : operation.operands) {
    operation.cost += o.view.defined ? double(o.view.size()) : 0;
    views.push_back(o.view);
  }
  if (row.cost)
    operation.cost = row.cost(attrs.get(), std::span(views).first(in.size()), std::span(views).subspan(in.size()));
  graph_->operations.push_back(std::move(operation));
  return out;
}

Tensor Capture::number() {
  return symbol(graph_->add({.kind = Value::Kind::Number, .spec = {{}, DType::Float64}, .index = graph_->numbers++}),
                true);
}

Tensor Capture::key(int64_t count) {
  Generator& generator = context_.generator;
  const int64_t offset = generator.offset - startOffset_;
  Tensor drawn = generator.next(count);
  if (generator.seed != startSeed_ || offset < 0)
    return drawn;  // the function seeds by itself: the same numbers in every run
  return symbol(graph_->add({.kind = Value::Kind::Key, .spec = drawn.spec(), .index = offset}));
}

Tensor Capture::copied(const Tensor& t) {
  GradMode off(false);
  return emit(ops::contiguous.row(), std::make_shared<None>(), std::array{t.detach()}, {t.spec()}).front();
}

/// `t` as the whole result of an operation, which memory of its own can be given to.
Tensor Capture::ownResult(const Tensor& t) {
  Tensor from = t.symbolic() ? t : constant(t);
  const Value& value = graph_->values[size_t(valueOf(from))];
  const bool own =
      value.kind == Value::Kind::Result && from.impl()->offset == 0 && from.contiguous() && from.spec() == value.spec;
  return own ? from : copied(from);
}

void Capture::assign(const Tensor& cell, const Tensor& source) {
  require(source.spec() == cell.spec(), Code::Shape, "assign: expected ", cell.spec(), "; got ", source.spec());
  CellState& state = cellOf(cell);
  state.now = ownResult(source).detach();
  graph_->cells[state.index].written = valueOf(state.now);
}

void Capture::touch(const Ref<Leaf>& leaf, bool read) {
  auto [found, added] = leaves_.try_emplace(leaf.get(), graph_->leaves.size(), leaf->grad);
  if (!added) return;
  graph_->leaves.push_back({.leaf = leaf, .read = read, .defined = bool(leaf->grad)});
  if (!read || !leaf->grad) return;
  LeafState& state = graph_->leaves.back();
  state.value =
      graph_->add({.kind = Value::Kind::Gradient, .spec = leaf->grad.spec(), .index = int64_t(found->second.first)});
  leaf->grad = symbol(state.value);
}

int Capture::enterRegion(int region) { return std::exchange(region_, region); }

std::unique_ptr<Graph> Capture::finish(const Tensors& outputs) {
  for (const Tensor& output : outputs) {
    const Tensor& t = seen(output);
    const auto kind = graph_->values[size_t(valueOf(t))].kind;
    const bool passed = kind == Value::Kind::Number || kind == Value::Kind::Key;
    graph_->outputs.push_back(operand(passed ? copied(t) : t));
  }
  for (auto& [leaf, state] : leaves_) {
    LeafState& entry = graph_->leaves[state.first];
    if (!leaf->grad) {
      entry.changed = entry.defined || !entry.read;
      continue;
    }
    const bool before = leaf->grad.symbolic() && valueOf(leaf->grad) == entry.value;
    Tensor grad = before ? leaf->grad : ownResult(leaf->grad);
    entry.written = valueOf(grad);
    entry.changed = entry.written != entry.value;
  }
  const Generator& generator = context_.generator;
  if (generator.seed == startSeed_ && generator.offset > startOffset_)
    graph_->randomSteps = generator.offset - startOffset_;
  restore();
  return std::move(graph_);
}

}  // namespace anneal
