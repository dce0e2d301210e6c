#include <algorithm>
#include <map>

#include "graph/capture.h"
#include "op/precision.h"
#include "ops/arithmetic.h"
#include "ops/creation.h"
#include "ops/reduce.h"
#include "runtime/context.h"

namespace anneal {
namespace {

/// A gradient as its input needs it: summed over what was broadcast, in the input's dtype.
Tensor fit(const Tensor& grad, const Spec& spec) {
  Tensor g = grad.shape() == spec.shape ? grad : ops::sumTo(grad, {.shape = spec.shape.ints()});
  return g.dtype() == spec.dtype ? g : ops::cast(g, {.dtype = spec.dtype});
}

class Pass {
 public:
  Pass(const Tensors& wanted, bool collect, BackwardOptions options)
      : wanted_(wanted), collect_(collect), options_(options), oldest_(collect ? 0 : UINT64_MAX) {
    found_.resize(wanted.size());
    for (const Tensor& w : wanted) {
      const Ref<Node>& node = w.impl()->provenance.node;
      oldest_ = std::min(oldest_, node ? node->id : 0);
    }
  }

  void seed(const Tensor& root, const Tensor& seed) {
    require(
        root.requiresGrad(), Code::Gradient,
        "backward: the tensor does not depend on anything that requires a gradient, or was made inside noGrad() or by "
        "a compiled function, inside of which backward() is to be called");
    require(seed.defined() || root.size() == 1, Code::Shape,
            "backward: a gradient can be implied only for one element; this "
            "tensor has the shape ",
            root.shape(), "; pass the gradient of the result, or reduce it first");
    require(!seed || seed.shape() == root.shape(), Code::Shape, "backward: the gradient has the shape ",
            seed ? seed.shape() : Shape{}, ", the tensor ", root.shape());
    DeviceScope on(root.device());
    deliver(root.impl()->provenance, seed ? fit(seed, root.spec()) : ops::full(root.shape(), 1, root.dtype()));
  }

  Tensors run() {
    while (!pending_.empty()) {
      auto last = std::prev(pending_.end());
      Pending item = std::move(last->second);
      pending_.erase(last);
      visit(item);
    }
    return std::move(found_);
  }

 private:
  struct Pending {
    Ref<Node> node;
    Tensors grads;
  };

  void deliver(const Provenance& to, const Tensor& grad) {
    if (to.leaf) return deliverLeaf(to.leaf, grad);
    Pending& item = pending_[to.node->id];
    if (!item.node) {
      item.node = to.node;
      item.grads.resize(to.node->outSpecs.size());
    }
    accumulate(item.grads[size_t(to.index)], grad);
  }

  void deliverLeaf(const Ref<Leaf>& leaf, const Tensor& grad) {
    if (collect_) {
      if (Capture* capture = Capture::current()) capture->touch(leaf, true);
      return accumulate(leaf->grad, grad);
    }
    for (size_t i = 0; i < wanted_.size(); ++i)
      if (wanted_[i].impl()->provenance.leaf == leaf) accumulate(found_[i], grad);
  }

  static void accumulate(Tensor& sum, const Tensor& grad) { sum = sum ? ops::add(sum, grad) : grad; }

  bool needs(const Provenance& edge) const {
    if (edge.node) return edge.node->id >= oldest_;  // no older one has to do with what is wanted
    if (collect_) return bool(edge);
    for (const Tensor& w : wanted_)
      if (edge.leaf && w.impl()->provenance.leaf == edge.leaf) return true;
    return false;
  }

  void visit(Pending& item) {
    Node& node = *item.node;
    for (size_t i = 0; i < wanted_.size(); ++i) {
      const Provenance& p = wanted_[i].impl()->provenance;
      if (p.node == item.node && item.grads[size_t(p.index)]) found_[i] = item.grads[size_t(p.index)];
    }
    require(!node.released, Code::State,
            "backward: the record of this result was released by an earlier backward(); pass "
            "{ retainGraph: true } to the earlier call to go through it twice");
    if (node.again) {
      // Its records are the newest: the pass goes through them next, and lets go of them, before it goes on.
      const Tensor result = computedAgain(node);
      if (result.requiresGrad()) deliver(result.impl()->provenance, item.grads.front());
    } else {
      Tensors grads = gradientsOf(node, item.grads);
      for (size_t i = 0; i < grads.size(); ++i)
        if (grads[i] && node.edges[i] && needs(node.edges[i])) deliver(node.edges[i], grads[i]);
    }
    if (!options_.retainGraph) node.release();
  }

  static Tensor computedAgain(const Node& node) {
    Tensor result = node.again(attach(node.in, node.edges));
    const Spec& first = node.outSpecs.front();
    require(result.spec() == first, Code::Value, "checkpoint: the function gave ", first,
            " at first, and when it was run again ", result.spec(), "; it must do the same both times");
    return result;
  }

  static Tensors customGradientsOf(const Node& node, const Tensors& grads) {
    Tensors result = node.custom(grads);
    require(result.size() == node.edges.size(), Code::Value, "customGrad: the gradient gave ", result.size(),
            " results for ", node.edges.size(), " inputs; expected one for each, undefined where there is none");
    for (size_t i = 0; i < result.size(); ++i) {
      if (!result[i]) continue;
      const Spec& spec = node.in[i].spec();
      require(result[i].shape() == spec.shape, Code::Shape, "customGrad: the gradient of input ", i, " has the shape ",
              result[i].shape(), ", the input ", spec.shape);
      if (isFloat(spec.dtype)) result[i] = fit(result[i], spec);
    }
    return result;
  }

  Tensors gradientsOf(const Node& node, const Tensors& grads) {
    if (node.custom) return customGradientsOf(node, grads);
    require(bool(node.row->vjp), Code::Gradient, node.row->name,
            ": has no gradient; use detach() on its input if none is meant");
    std::vector<bool> need;
    for (auto& edge : node.edges) need.push_back(needs(edge));
    Tensors in = attach(node.in, node.edges), out;
    for (size_t i = 0; i < node.out.size(); ++i) {
      out.push_back(node.out[i].detach());
      out[i].impl()->provenance = {.node = Ref<Node>(const_cast<Node*>(&node)), .index = int(i), .leaf = {}};
    }
    const auto placed =
        std::find_if(grads.begin(), grads.end(), [](const Tensor& g) { return g && g.impl()->storage; });
    DeviceScope on(placed == grads.end() ? defaultDevice() : placed->device());
    Tensors result = node.row->vjp({node.attrs.get(), in, out, grads, need});
    require(result.size() <= in.size(), Code::Internal, node.row->name, ": the gradient gives ", result.size(),
            " results for ", in.size(), " inputs");
    for (size_t i = 0; i < result.size(); ++i)
      if (result[i] && i < in.size() && in[i]) result[i] = fit(result[i], in[i].spec());
    return result;
  }

  static Tensors attach(const Tensors& saved, const std::vector<Provenance>& provenance) {
    Tensors out;
    for (size_t i = 0; i < saved.size(); ++i) {
      out.push_back(saved[i] ? saved[i].detach() : Tensor());
      if (saved[i]) out[i].impl()->provenance = provenance[i];
    }
    return out;
  }

  const Tensors& wanted_;
  bool collect_;
  BackwardOptions options_;
  uint64_t oldest_;  // of the records of what is wanted
  Tensors found_;
  std::map<uint64_t, Pending> pending_;
};

Tensors runPass(const Tensors& roots, const Tensors& seeds, const Tensors& wanted, bool collect,
                BackwardOptions options) {
  options.retainGraph |= options.createGraph;
  GradMode mode(options.createGraph);
  AutocastOff exact;  // gradients have the precision of what they are of
  Pass pass(wanted, collect, options);
  for (size_t i = 0; i < roots.size(); ++i) pass.seed(roots[i], i < seeds.size() ? seeds[i] : Tensor());
  return pass.run();
}

}  // namespace

void backward(const Tensors& roots, const Tensors& seeds, BackwardOptions options) {
  runPass(roots, seeds, {}, true, options);
}

Tensors gradients(const Tensors& roots, const Tensors& seeds, const Tensors& wanted, BackwardOptions options) {
  for (const Tensor& w : wanted)
    require(w.requiresGrad(), Code::Gradient,
            "grad: a tensor with respect to which to differentiate does not require a gradient");
  return runPass(roots, seeds, wanted, false, options);
}

}  // namespace anneal
