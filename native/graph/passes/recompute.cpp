#include <algorithm>

#include "graph/passes/passes.h"

namespace anneal::passes {
namespace {

constexpr size_t kLeast = size_t(1) << 20;  // bytes of a result worth computing twice
constexpr double kShare = 0.02;             // of the work of the graph that may be done twice
constexpr double kWorkPerByte = 6;          // scalar operations in the time that a byte is moved, about

double workOf(const Operation& op) {
  double work = op.cost;
  for (const Operand& o : op.operands)
    if (o.view.defined) work += kWorkPerByte * double(o.view.size()) * double(itemSize(o.view.dtype));
  return work;
}

/// Drops large results between their first uses and a late one, for which they are computed again, as long as that
/// lowers the peak of memory and costs little: copies and elementwise operations over what is there anyway.
class Recomputing {
 public:
  explicit Recomputing(Graph& graph) : graph_(graph) {
    for (const Operation& op : graph.operations) budget_ += kShare * workOf(op);
  }

  void run() {
    while (lowerPeak()) {
    }
  }

 private:
  bool lowerPeak() {
    const Uses uses(graph_);
    const int peak = peakOf(uses);
    int best = -1;
    double least = 0;
    for (size_t v = 0; v < graph_.values.size(); ++v) {
      if (!droppable(uses, int(v), peak)) continue;
      const double work = workOf(graph_.operations[size_t(uses.writer[v])]) / double(graph_.values[v].bytes());
      if (best < 0 || work < least) best = int(v), least = work;
    }
    if (best < 0) return false;
    const Operation again = graph_.operations[size_t(uses.writer[size_t(best)])];
    budget_ -= workOf(again);
    compute(again, best, nextReader(uses, best, peak));
    return true;
  }

  /// The operation during which most memory is in use.
  int peakOf(const Uses& uses) const {
    std::vector<double> change(graph_.operations.size() + 1);
    for (size_t v = 0; v < graph_.values.size(); ++v) {
      if (uses.writer[v] < 0 || uses.kept[v]) continue;  // what outlives the run has memory of its own
      const auto& readers = uses.readers[v];
      const int last = readers.empty() ? uses.writer[v] : readers.back();
      change[size_t(uses.writer[v])] += double(graph_.values[v].bytes());
      change[size_t(last) + 1] -= double(graph_.values[v].bytes());
    }
    std::partial_sum(change.begin(), change.end(), change.begin());
    return int(std::max_element(change.begin(), change.end()) - change.begin());
  }

  static int nextReader(const Uses& uses, int value, int after) {
    const auto& readers = uses.readers[size_t(value)];
    const auto next = std::upper_bound(readers.begin(), readers.end(), after);
    return next == readers.end() ? -1 : *next;
  }

  /// Whether a result that only waits at the peak may be computed again afterwards.
  bool droppable(const Uses& uses, int value, int peak) const {
    const int writer = uses.writer[size_t(value)];
    if (writer < 0 || writer >= peak || uses.kept[size_t(value)] || graph_.values[size_t(value)].bytes() < kLeast)
      return false;
    const Operation& op = graph_.operations[size_t(writer)];
    const auto& readers = uses.readers[size_t(value)];
    const int next = nextReader(uses, value, peak);
    if (next < 0 || !cheap(op) || workOf(op) > budget_ || std::count(readers.begin(), readers.end(), peak))
      return false;
    const auto in = op.in();
    return std::all_of(in.begin(), in.end(), [&](const Operand& o) { return there(uses, o, next); });
  }

  static bool cheap(const Operation& op) {
    return op.out().size() == 1 && !op.row->donor && (op.row->pointwise || op.row->name == "contiguous");
  }

  /// Whether an operand can be read by an operation right before number `at` without being kept for it.
  bool there(const Uses& uses, const Operand& o, int at) const {
    if (o.value < 0) return true;
    const Value& v = graph_.values[size_t(o.value)];
    if (v.kind != Value::Kind::Result) return v.kind != Value::Kind::Cell || lasting(graph_, o);
    const auto& readers = uses.readers[size_t(o.value)];
    return uses.kept[size_t(o.value)] || (!readers.empty() && readers.back() >= at);
  }

  /// Does `op` again right before operation `at`; from there on its new result stands for `value`.
  void compute(Operation op, int value, int at) {
    op.region = --regions_;
    const int copy = graph_.add(graph_.values[size_t(value)]);
    op.operands.back().value = copy;
    for (size_t i = size_t(at); i < graph_.operations.size(); ++i)
      for (Operand& o : graph_.operations[i].in())
        if (o.value == value) o.value = copy;
    graph_.operations.insert(graph_.operations.begin() + at, std::move(op));
  }

  Graph& graph_;
  double budget_ = 0;
  int regions_ = 0;  // of their own: they are not to be shared with the first computation
};

}  // namespace

void recompute(Graph& graph) { Recomputing(graph).run(); }

}  // namespace anneal::passes
