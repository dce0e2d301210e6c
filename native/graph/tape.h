#pragma once
#include <functional>

#include "op/row.h"

namespace anneal {

/// A differentiable tensor that no op made: a parameter or an input marked by the user. Gradients collect in `grad`.
class Leaf : public RefCounted {
 public:
  Tensor grad;
};

/// One recorded call: what its gradient needs, and where the gradient goes.
class Node : public RefCounted {
 public:
  Node();
  ~Node() override;

  uint64_t id;  // grows with every record: a node's inputs always have smaller ids
  const Row* row = nullptr;
  AttrsRef attrs;
  Tensors in, out;  // values that the gradient reads, the rest by shape only
  std::vector<Provenance> edges;
  std::vector<Spec> outSpecs;
  std::function<Tensors(const Tensors& grads)> custom;  // a gradient given by the caller, instead of the row's
  std::function<Tensor(const Tensors& in)> again;       // of a checkpoint: computes the result anew, with a record
  bool closesOver = true;  // whether `custom` or `again` may depend on more than the edges say
  bool released = false;

  /// Lets go of everything kept for the gradient.
  void release();
};

/// Makes `tensor` a leaf: the one that it was before it was frozen, if it was one.
void requireGrad(Tensor& tensor);
/// Has no gradients collected for a leaf any more. What it has collected stays for when it is one again.
void freeze(Tensor& tensor);

/// Records a call whose outputs have just been made.
void record(const Row& row, const AttrsRef& attrs, Inputs in, Tensors& out);

/// Gives `outputs` a gradient of the caller's own: `gradient` gets the outputs' gradients and returns the inputs'.
void recordCustom(Inputs in, Tensors& out, std::function<Tensors(const Tensors&)> gradient);

/// Records `out`, the result of `again` for `in` without its record: the gradient goes through what `again` records
/// when it is wanted. `closesOver`: whether `again` reads other tensors, too, that require gradients.
void recordCheckpoint(Inputs in, Tensor& out, bool closesOver, std::function<Tensor(const Tensors&)> again);

/// Whether `root` depends, or may depend, on what requires a gradient other than through `own`.
bool dependsOnOthers(const Tensor& root, const Tensors& own);

struct BackwardOptions {
  bool retainGraph = false;  // keep what was recorded, for another pass
  bool createGraph = false;  // record the pass itself, for higher orders
};

/// Adds d(sum roots·seeds)/d(leaf) to every leaf's `grad`. Undefined seeds mean ones, for one-element roots only.
void backward(const Tensors& roots, const Tensors& seeds, BackwardOptions options);

/// The gradients with respect to `wanted`, leaving `grad`s alone; undefined where nothing depends on it.
Tensors gradients(const Tensors& roots, const Tensors& seeds, const Tensors& wanted, BackwardOptions options);

}  // namespace anneal
