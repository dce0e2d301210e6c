#include "graph/program.h"

#include <set>

#include "graph/execution.h"
#include "graph/passes/passes.h"
#include "graph/replay.h"
#include "runtime/backend.h"
#include "runtime/context.h"

namespace anneal {
namespace {

// Scalar operations that a caller may do itself rather than queue, in one operation and in all.
constexpr double kSmallOperation = 8192, kSmallProgram = 65536;

void optimize(Graph& graph) {
  const bool onGpu = graph.device->type() != DeviceType::Cpu;
  passes::removeDead(graph);
  passes::foldConstants(graph);
  passes::simplify(graph);
  passes::shareCommon(graph);
  passes::removeDead(graph);
  passes::mergeClipping(graph);
  if (onGpu) passes::narrowGradients(graph);
  passes::splitUpdates(graph);
  passes::recompute(graph);
  passes::fuseConvolutions(graph);
  passes::fuseQuantized(graph);
  passes::hoist(graph);
  passes::fuseChannelNorms(graph);
  passes::fuseElementwise(graph);
  // A GPU's products add a residual on their way to memory: norms get what these leave.
  if (onGpu) passes::fuseEpilogues(graph, passes::Producers::Products);
  passes::fuseNorms(graph);
  passes::fuseEpilogues(graph, onGpu ? passes::Producers::Norms : passes::Producers::All);
  passes::fuseReductions(graph);
  if (onGpu) passes::joinCasts(graph);
  passes::schedule(graph);
  if (onGpu) passes::joinSums(graph);
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
  c.graph = std::move(graph);
}

size_t Program::numbers() const { return size_t(compiled_->graph->numbers); }
size_t Program::arenaBytes() const { return compiled_->plan.arena; }
size_t Program::liveBytes() const { return compiled_->plan.bound(); }
void Program::profileNext() { compiled_->profile.store(true); }

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
