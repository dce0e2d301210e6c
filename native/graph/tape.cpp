#include "graph/tape.h"

#include <algorithm>
#include <atomic>
#include <unordered_set>

#include "runtime/context.h"

namespace anneal {
namespace {

std::atomic<uint64_t> nextId{1};

/// Nodes whose last reference went: freed one after the other, since a recursion would be as deep as the graph.
thread_local std::vector<Provenance>* doomed = nullptr;

Tensor kept(const Tensor& t, bool value) {
  if (!t) return t;
  return value ? t.detach() : t.specOnly();
}

}  // namespace

Node::Node() : id(nextId.fetch_add(1, std::memory_order_relaxed)) {}

Node::~Node() {
  if (doomed) {
    std::move(edges.begin(), edges.end(), std::back_inserter(*doomed));
    return;
  }
  std::vector<Provenance> pending = std::move(edges);
  doomed = &pending;
  while (!pending.empty()) {
    Provenance next = std::move(pending.back());
    pending.pop_back();
  }
  doomed = nullptr;
}

void Node::release() {
  in.clear();
  out.clear();
  custom = nullptr;
  again = nullptr;
  released = true;
}

void requireGrad(Tensor& tensor) {
  require(isFloat(tensor.dtype()), Code::DType, "requiresGrad: only floating-point tensors have gradients; got ",
          tensor.dtype());
  TensorImpl& impl = *tensor.impl();
  impl.provenance = {.node = {}, .index = 0, .leaf = impl.frozen ? std::move(impl.frozen) : makeRef<Leaf>()};
}
void freeze(Tensor& tensor) {
  TensorImpl& impl = *tensor.impl();
  impl.frozen = std::move(impl.provenance.leaf);
  impl.provenance = {};
}

namespace {

Ref<Node> nodeFor(Inputs in, Tensors& out) {
  auto node = makeRef<Node>();
  node->edges.reserve(in.size());
  node->outSpecs.reserve(out.size());
  for (const Tensor& t : in) node->edges.push_back(t ? t.impl()->provenance : Provenance{});
  for (size_t i = 0; i < out.size(); ++i) {
    node->outSpecs.push_back(out[i].spec());
    if (isFloat(out[i].dtype())) out[i].impl()->provenance = {.node = node, .index = int(i), .leaf = {}};
  }
  return node;
}

}  // namespace

void record(const Row& row, const AttrsRef& attrs, Inputs in, Tensors& out) {
  auto reads = [](const std::vector<int>& list, size_t i) {
    return std::find(list.begin(), list.end(), int(i)) != list.end();
  };
  Tensors savedIn, savedOut;
  savedIn.reserve(in.size());
  savedOut.reserve(out.size());
  for (size_t i = 0; i < in.size(); ++i)
    savedIn.push_back(kept(in[i], row.saves.allInputs || reads(row.saves.inputs, i)));
  for (size_t i = 0; i < out.size(); ++i) savedOut.push_back(kept(out[i], reads(row.saves.outputs, i)));
  auto node = nodeFor(in, out);
  node->row = &row;
  node->attrs = attrs;
  node->in = std::move(savedIn);
  node->out = std::move(savedOut);
}

void recordCustom(Inputs in, Tensors& out, std::function<Tensors(const Tensors&)> gradient) {
  auto node = nodeFor(in, out);
  for (const Tensor& t : in) node->in.push_back(kept(t, false));
  node->custom = std::move(gradient);
}

void recordCheckpoint(Inputs in, Tensor& out, bool closesOver, std::function<Tensor(const Tensors&)> again) {
  Tensors outs{out};
  auto node = nodeFor(in, outs);
  for (const Tensor& t : in) node->in.push_back(kept(t, true));
  node->again = std::move(again);
  node->closesOver = closesOver;
}

bool dependsOnOthers(const Tensor& root, const Tensors& own) {
  std::vector<const Provenance*> pending{&root.impl()->provenance};
  std::unordered_set<const Node*> seen;
  for (const Tensor& t : own) seen.insert(t.impl()->provenance.node.get());
  while (!pending.empty()) {
    const Provenance& at = *pending.back();
    pending.pop_back();
    if (at.leaf) return true;
    if (!at.node || !seen.insert(at.node.get()).second) continue;
    if (!at.node->row && at.node->closesOver) return true;
    for (const Provenance& edge : at.node->edges) pending.push_back(&edge);
  }
  return false;
}

}  // namespace anneal
