#pragma once
#include <numeric>

#include "graph/graph.h"

// What is done to a captured graph before it runs. Each pass leaves a graph that computes the same.
namespace anneal::passes {

/// Drops operations whose results nobody reads.
void removeDead(Graph& graph);
/// Computes now what depends on constants only.
void foldConstants(Graph& graph);
/// Drops operations that change nothing, such as a multiplication by one.
void simplify(Graph& graph);
/// Computes equal expressions once, but for those that are recomputed by choice.
void shareCommon(Graph& graph);
/// Joins elementwise operations that follow each other into one pass over memory.
void fuseElementwise(Graph& graph);

/// Takes clipping of gradients into the updates that alone read what is clipped.
void mergeClipping(Graph& graph);
/// Has updates, and norms of gradients, read the 16-bit floats that gradients were made of: a GPU's can.
void narrowGradients(Graph& graph);
/// Splits updates of many parameters, so that each is made as soon as its gradient is there.
void splitUpdates(Graph& graph);
/// Computes large results again where they are read late, if that lowers the peak of memory and costs little.
void recompute(Graph& graph);
/// Orders the operations for a lower peak of memory: what frees memory early, what takes it late.
void schedule(Graph& graph);
/// Has a GPU's products add up a factor that they read anyway: those that make gradients of weights, for those of
/// biases. In the order that has been decided on.
void joinSums(Graph& graph);
/// Has rows of elementwise operations' results normalised while they are in cache.
void fuseNorms(Graph& graph);
/// Gives matrix products and gradients of norms (on a GPU all norms of rows) the elementwise operations that follow
/// them.
enum class Producers { Products, Norms, All };
void fuseEpilogues(Graph& graph, Producers producers);
/// Takes totals of rows of elementwise operations' results while they are in cache.
void fuseReductions(Graph& graph);

/// Gives norms of channels in training the addition and the ReLU that follow, and their gradients that of the ReLU.
void fuseChannelNorms(Graph& graph);
/// Folds batch norms with given statistics into the convolutions before them, and joins these with additions and ReLUs.
void fuseConvolutions(Graph& graph);
/// Folds batch norms into the scales of quantised layers before them, joins these with additions and activations, and
/// plans their products.
void fuseQuantized(Graph& graph);
/// Rounds parameters to 16 bits all at once: most of them are small, and a GPU takes microseconds to start a kernel.
void joinCasts(Graph& graph);
/// Moves what depends on unchanging cells only to the prologue.
void hoist(Graph& graph);

/// Who writes and reads each value.
struct Uses {
  std::vector<int> writer;                // the operation, or -1
  std::vector<std::vector<int>> readers;  // operations, once for each operand
  std::vector<bool> kept;                 // left behind by a run
  explicit Uses(const Graph& graph);
  /// The only operation that reads the value, if nothing else refers to it; or -1.
  int onlyReader(int value) const {
    return kept[size_t(value)] || readers[size_t(value)].size() != 1 ? -1 : readers[size_t(value)][0];
  }
};

/// Whether an operand holds the same from run to run, unless a cell is given another value between them.
inline bool lasting(const Graph& graph, const Operand& o) {
  if (o.value < 0) return true;
  const Value& v = graph.values[size_t(o.value)];
  if (v.kind == Value::Kind::Cell) return graph.cells[size_t(v.index)].written < 0;
  return v.kind == Value::Kind::Constant || v.kind == Value::Kind::Kept;
}

/// The values that cells and gradients take at the end of a run; `visit` may change them.
template <class G, class F>
void forEachState(G& graph, F&& visit) {
  for (auto& c : graph.cells)
    if (c.written >= 0) visit(c.written);
  for (auto& l : graph.leaves)
    if (l.changed && l.written >= 0) visit(l.written);
}
/// Everything that a run leaves behind: these, and those of outputs.
template <class G, class F>
void forEachResult(G& graph, F&& visit) {
  for (auto& o : graph.outputs) visit(o.value);
  forEachState(graph, visit);
}

/// Puts values into the places of equal ones.
class Renaming {
 public:
  explicit Renaming(Graph& graph) : graph_(graph), now_(graph.values.size()) { std::iota(now_.begin(), now_.end(), 0); }
  void rename(int value, int to) { now_[size_t(value)] = now_[size_t(to)]; }
  /// To be called for every operation in order.
  void apply(Operation& op) const {
    for (Operand& o : op.in())
      if (o.value >= 0) o.value = now_[size_t(o.value)];
  }
  void finish() {
    forEachResult(graph_, [&](int& value) { value = now_[size_t(value)]; });
  }

 private:
  Graph& graph_;
  std::vector<int> now_;
};

}  // namespace anneal::passes
