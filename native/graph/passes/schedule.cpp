#include <algorithm>
#include <tuple>

#include "graph/passes/passes.h"
#include "graph/passes/updates.h"

namespace anneal::passes {
namespace {

constexpr int64_t kPart = int64_t(1) << 20;   // bytes of the gradients of a part of an update, at least
constexpr int64_t kLeast = int64_t(1) << 16;  // bytes worth moving an operation for

using ops::UpdateInputs;

/// Whether the memory of `value` is free when operation `i` is done.
bool diesWith(const Graph& graph, const Uses& uses, int value, int i) {
  const Value& v = graph.values[size_t(value)];
  return v.kind == Value::Kind::Result && !uses.kept[size_t(value)] && uses.readers[size_t(value)].back() == i;
}

/// After which operation number `i`, or a part of it with these inputs, may stand: it needs what others write, and
/// takes away what others read. -1: it may be the first.
int lastNeeded(const Graph& graph, const Uses& uses, std::span<const Operand> in, int i) {
  int last = -1;
  for (const Operand& o : in) {
    if (o.value < 0) continue;
    last = std::max(last, uses.writer[size_t(o.value)]);
    const Value& v = graph.values[size_t(o.value)];
    const bool written = v.kind == Value::Kind::Cell && graph.cells[size_t(v.index)].written >= 0;
    if (!written && !diesWith(graph, uses, o.value, i)) continue;
    for (int reader : uses.readers[size_t(o.value)])
      if (reader < i) last = std::max(last, reader);
  }
  return last;
}

/// The update of some of the parameters, by their numbers.
Operation partOf(const Operation& update, const std::vector<size_t>& some) {
  const size_t n = updatedBy(update), scalars = UpdateInputs::Tensors;
  Operation part = update;
  part.operands.resize(scalars);
  for (size_t block = scalars; block < update.operands.size(); block += n)
    for (size_t i : some) part.operands.push_back(update.operands[block + i]);
  part.inputs = scalars + (update.inputs - scalars) / n * some.size();
  part.cost *= double(some.size()) / double(n);
  return part;
}

/// The parameters of an update, in the order in which they can be updated, with the operations that they wait for.
std::vector<std::pair<int, size_t>> readiness(const Graph& graph, const Uses& uses, int at) {
  const Operation& op = graph.operations[size_t(at)];
  const size_t n = updatedBy(op);
  std::vector<std::pair<int, size_t>> ready;
  for (size_t i = 0; i < n; ++i) {
    const Operation one = partOf(op, {i});
    ready.emplace_back(lastNeeded(graph, uses, one.in(), at), i);
  }
  std::sort(ready.begin(), ready.end());
  return ready;
}

/// Where an operation goes: beside the one of a number, before (-1) or after it (1), in the order of its own number.
using Place = std::tuple<int, int, int>;

void rearrange(Graph& graph, std::vector<Place> places) {
  std::sort(places.begin(), places.end());
  std::vector<Operation> operations;
  operations.reserve(places.size());
  for (const Place& place : places) operations.push_back(std::move(graph.operations[size_t(std::get<2>(place))]));
  graph.operations = std::move(operations);
}

/// By how many bytes an operation changes what lives in the arena.
int64_t growth(const Graph& graph, const Uses& uses, int i) {
  const Operation& op = graph.operations[size_t(i)];
  int64_t bytes = 0;
  for (const Operand& o : op.out())
    if (!uses.kept[size_t(o.value)]) bytes += int64_t(graph.values[size_t(o.value)].bytes());
  std::vector<int> dead;
  for (const Operand& o : op.in())
    if (o.value >= 0 && diesWith(graph, uses, o.value, i)) dead.push_back(o.value);
  std::sort(dead.begin(), dead.end());
  dead.erase(std::unique(dead.begin(), dead.end()), dead.end());
  for (int value : dead) bytes -= int64_t(graph.values[size_t(value)].bytes());
  return bytes;
}

/// What frees memory is done as soon as it can be.
void advance(Graph& graph) {
  const Uses uses(graph);
  std::vector<Place> places;
  for (int i = 0; i < int(graph.operations.size()); ++i) {
    if (growth(graph, uses, i) > -kLeast) places.emplace_back(i, 0, i);
    else places.emplace_back(lastNeeded(graph, uses, graph.operations[size_t(i)].in(), i), 1, i);
  }
  rearrange(graph, std::move(places));
}

/// The first operation that reads what number `i` writes, or overwrites a cell that it reads.
int firstWaiting(const Graph& graph, const Uses& uses, int i) {
  int first = int(graph.operations.size());
  const Operation& op = graph.operations[size_t(i)];
  for (const Operand& o : op.out())
    if (const auto& readers = uses.readers[size_t(o.value)]; !readers.empty()) first = std::min(first, readers.front());
  for (const Operand& o : op.in()) {
    if (o.value < 0 || graph.values[size_t(o.value)].kind != Value::Kind::Cell) continue;
    const int written = graph.cells[size_t(graph.values[size_t(o.value)].index)].written;
    if (written >= 0 && uses.writer[size_t(written)] > i) first = std::min(first, uses.writer[size_t(written)]);
  }
  return first;
}

/// What takes memory is done as late as it can be.
void postpone(Graph& graph) {
  const Uses uses(graph);
  std::vector<Place> places;
  for (int i = 0; i < int(graph.operations.size()); ++i) {
    if (growth(graph, uses, i) < kLeast) places.emplace_back(i, 0, i);
    else places.emplace_back(firstWaiting(graph, uses, i), -1, i);
  }
  rearrange(graph, std::move(places));
}

}  // namespace

void splitUpdates(Graph& graph) {
  const Uses uses(graph);
  std::vector<Operation> operations;
  std::vector<Place> places;
  const auto add = [&](Operation op, int beside, int side) {
    places.emplace_back(beside, side, int(operations.size()));
    operations.push_back(std::move(op));
  };
  for (int at = 0; at < int(graph.operations.size()); ++at) {
    const Operation& op = graph.operations[size_t(at)];
    const auto ready = readiness(graph, uses, at);
    if (ready.empty()) add(op, at, 0);
    std::vector<size_t> part;
    int64_t bytes = 0;
    for (size_t k = 0; k < ready.size(); ++k) {
      const auto [when, i] = ready[k];
      const View& parameter = op.in()[UpdateInputs::Tensors + i].view;
      part.push_back(i);
      bytes += parameter.size() * int64_t(itemSize(parameter.dtype));
      const bool last = k + 1 == ready.size();
      if (!last && (bytes < kPart || ready[k + 1].first == when)) continue;
      add(partOf(op, part), when, 1);
      part.clear();
      bytes = 0;
    }
  }
  graph.operations = std::move(operations);
  rearrange(graph, std::move(places));
}

void schedule(Graph& graph) {
  advance(graph);
  postpone(graph);
}

}  // namespace anneal::passes
