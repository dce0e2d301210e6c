#include "graph/plan.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "graph/passes/passes.h"
#include "ops/optimizers.h"

namespace anneal {
namespace {

constexpr size_t kAlignment = 64;

struct Lifetime {
  int value;
  size_t bytes;
  int first, last;  // operations
};

/// The operation that reads `value` last, or -1.
int lastRead(const passes::Uses& uses, int value) {
  const auto& readers = uses.readers[size_t(value)];
  return readers.empty() ? -1 : readers.back();
}

/// Largest first, each at the lowest place that is free all its life.
size_t arrange(std::vector<Lifetime> lives, std::vector<Plan::Place>& places) {
  std::sort(lives.begin(), lives.end(), [](const Lifetime& a, const Lifetime& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.value < b.value;
  });
  struct Placed {
    size_t begin, end;
    int first, last;
  };
  std::vector<Placed> placed;  // by begin
  size_t total = 0;
  for (const Lifetime& life : lives) {
    size_t at = 0;
    for (const Placed& p : placed) {
      if (p.last < life.first || life.last < p.first) continue;
      if (p.begin >= at + life.bytes) break;
      at = std::max(at, p.end);
    }
    places[size_t(life.value)].offset = at;
    Placed entry{at, at + life.bytes, life.first, life.last};
    placed.insert(std::upper_bound(placed.begin(), placed.end(), entry,
                                   [](const Placed& a, const Placed& b) { return a.begin < b.begin; }),
                  entry);
    total = std::max(total, entry.end);
  }
  return total;
}

/// Whether the new value of `cell` may be written over the old one: the operation allows it, and nobody reads the old
/// one later or keeps it.
bool inPlace(const Graph& graph, const passes::Uses& uses, const Cell& cell) {
  const int writer = uses.writer[size_t(cell.written)];
  if (cell.value < 0 || writer < 0) return false;
  const Operation* op = &graph.operations[size_t(writer)];
  if (!op->row->donor) return false;
  size_t output = 0;
  while (op->out()[output].value != cell.written) ++output;
  const int donor = op->row->donor(output, op->inputs);
  if (donor < 0 || op->in()[size_t(donor)].value != cell.value) return false;
  if (!op->in()[size_t(donor)].whole(graph.values[size_t(cell.value)])) return false;
  if (lastRead(uses, cell.value) > writer) return false;
  int reads = 0;
  for (const Operand& o : op->in()) reads += o.value == cell.value;
  return reads == 1 && !uses.kept[size_t(cell.value)];
}

/// The input whose place the only result of an operation may take, because nobody reads it later; or -1.
int overwritten(const Graph& graph, const passes::Uses& uses, const Plan& plan, int i) {
  const Operation& op = graph.operations[size_t(i)];
  if ((!op.row->overwrites && !op.row->donor) || op.out().size() != 1) return -1;
  const Operand& to = op.out()[0];
  const int only = op.row->donor ? op.row->donor(0, op.inputs) : -1;
  for (size_t k = 0; k < op.inputs; ++k) {
    const Operand& from = op.in()[k];
    if (only >= 0 && int(k) != only) continue;
    if (from.value < 0 || plan.places[size_t(from.value)].home != Plan::Home::Arena) continue;
    const Value &source = graph.values[size_t(from.value)], &target = graph.values[size_t(to.value)];
    const auto reads =
        std::count_if(op.in().begin(), op.in().end(), [&](const Operand& o) { return o.value == from.value; });
    if (reads == 1 && lastRead(uses, from.value) == i && from.whole(source) && source.spec == target.spec)
      return from.value;
  }
  return -1;
}

/// Whether the new value of `cell` is no other result of the run.
bool alone(const Graph& graph, const Cell& cell) {
  int holders = 0;
  passes::forEachResult(graph, [&](int value) { holders += value == cell.written; });
  return holders == 1;
}

/// Whether an optimizer's update writes a value.
bool updated(const Graph& graph, const passes::Uses& uses, int value) {
  const int writer = uses.writer[size_t(value)];
  if (writer < 0) return false;
  const Operation& op = graph.operations[size_t(writer)];
  return ops::updatedBy(*op.row, op.inputs, op.out().size()) > 0;
}

/// Has what comes from outside and what outlives a run visit the arena.
void letVisit(const Graph& graph, const passes::Uses& uses, Plan& plan) {
  for (size_t v = 0; v < graph.values.size(); ++v) {
    Plan::Place& place = plan.places[v];
    const Value& value = graph.values[v];
    const bool stays = value.kind == Value::Kind::Cell || value.kind == Value::Kind::Constant;
    if (place.home == Plan::Home::Own) place.visits = place.cell < 0;
    else if (place.home != Plan::Home::Outside || value.kind == Value::Kind::Kept) continue;
    else if (value.bytes() <= sizeof(View::scalar)) place.slot = int(plan.slots++);
    else place.visits = !stays && !uses.readers[v].empty();
  }
  for (size_t c = 0; c < graph.cells.size(); ++c) {
    const Cell& cell = graph.cells[c];
    if (cell.written < 0 || !alone(graph, cell)) continue;
    Plan::Place& place = plan.places[size_t(cell.written)];
    // An update heeds mistakes itself; what visits the arena comes from there when mistakes are known.
    if (place.visits || (place.home == Plan::Home::Own && updated(graph, uses, cell.written))) place.keeps = int(c);
    // It may be brought over the old value when a run is done, unless that is a result of the run.
    if (place.visits && (cell.value < 0 || !uses.kept[size_t(cell.value)])) place.cell = int(c);
  }
}

}  // namespace

Plan planMemory(const Graph& graph, bool steady) {
  const passes::Uses uses(graph);
  Plan plan;
  plan.places.resize(graph.values.size());
  for (size_t v = 0; v < graph.values.size(); ++v)
    if (graph.values[v].kind != Value::Kind::Result) plan.places[v].home = Plan::Home::Outside;
  passes::forEachResult(graph, [&](int value) {
    auto& home = plan.places[size_t(value)].home;
    if (home != Plan::Home::Outside) home = Plan::Home::Own;
  });
  for (size_t c = 0; c < graph.cells.size(); ++c)
    if (graph.cells[c].written >= 0 && inPlace(graph, uses, graph.cells[c]))
      plan.places[size_t(graph.cells[c].written)].cell = int(c);
  for (size_t v = 0; v < graph.values.size(); ++v)
    if (uses.writer[v] >= 0 && plan.places[v].home == Plan::Home::None) plan.places[v].home = Plan::Home::Arena;
  if (steady) letVisit(graph, uses, plan);
  // Results that take the place of an input live on under its name.
  std::vector<int> root(graph.values.size());
  std::iota(root.begin(), root.end(), 0);
  for (size_t i = 0; i < graph.operations.size(); ++i) {
    const int from = overwritten(graph, uses, plan, int(i));
    const int to = from < 0 ? -1 : graph.operations[i].out()[0].value;
    if (to >= 0 && plan.places[size_t(to)].home == Plan::Home::Arena) root[size_t(to)] = root[size_t(from)];
  }
  std::map<int, Lifetime> lives;
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const Plan::Place& place = plan.places[v];
    if (place.home != Plan::Home::Arena && !place.visits) continue;
    const size_t bytes = (graph.values[v].bytes() + kAlignment - 1) / kAlignment * kAlignment;
    const int first = std::max(uses.writer[v], 0);
    const int last =
        place.home == Plan::Home::Own ? int(graph.operations.size()) - 1 : std::max(lastRead(uses, int(v)), first);
    auto [life, added] = lives.try_emplace(root[v], Lifetime{root[v], bytes, first, last});
    if (added) continue;
    life->second.first = std::min(life->second.first, first);
    life->second.last = std::max(life->second.last, last);
  }
  std::vector<Lifetime> list;
  list.reserve(lives.size());
  for (const auto& [value, life] : lives) list.push_back(life);
  plan.live.resize(graph.operations.size());
  for (const Lifetime& life : list)
    for (int i = life.first; i <= life.last; ++i) plan.live[size_t(i)] += life.bytes;
  plan.arena = arrange(std::move(list), plan.places);
  for (size_t v = 0; v < graph.values.size(); ++v)
    if (plan.places[v].home == Plan::Home::Arena) plan.places[v].offset = plan.places[size_t(root[v])].offset;
  return plan;
}

}  // namespace anneal
