#include <unordered_map>

#include "graph/passes/passes.h"

namespace anneal::passes {
namespace {

void mix(size_t& hash, size_t value) { hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2); }

/// Equal for operations that are equal; attributes are left to the comparison.
size_t hashOf(const Operation& op) {
  size_t hash = size_t(op.row->id);
  mix(hash, size_t(op.region));
  for (const Operand& o : op.in()) {
    mix(hash, size_t(o.value));
    mix(hash, size_t(o.offset));
    for (int64_t d : o.view.shape) mix(hash, size_t(d));
  }
  return hash;
}

bool sameInput(const Operand& a, const Operand& b) {
  return a.value == b.value && a.offset == b.offset && a.view.defined == b.view.defined &&
         a.view.dtype == b.view.dtype && a.view.shape == b.view.shape && a.view.strides == b.view.strides &&
         a.view.weak == b.view.weak && (a.value >= 0 || a.view.scalar == b.view.scalar);
}

bool same(const Operation& a, const Operation& b) {
  if (a.row != b.row || a.region != b.region || a.inputs != b.inputs || a.operands.size() != b.operands.size())
    return false;
  for (size_t i = 0; i < a.inputs; ++i)
    if (!sameInput(a.operands[i], b.operands[i])) return false;
  for (const Field& f : a.row->fields)
    if (!f.equal(a.attrs.get(), b.attrs.get())) return false;
  return true;
}

}  // namespace

void shareCommon(Graph& graph) {
  Renaming renaming(graph);
  std::unordered_multimap<size_t, size_t> known;
  for (size_t i = 0; i < graph.operations.size(); ++i) {
    Operation& op = graph.operations[i];
    renaming.apply(op);
    if (op.row->donor) continue;  // an update may take over its inputs' memory
    const size_t hash = hashOf(op);
    auto [begin, end] = known.equal_range(hash);
    bool shared = false;
    for (auto it = begin; it != end && !shared; ++it) {
      const Operation& first = graph.operations[it->second];
      if (!same(first, op)) continue;
      for (size_t k = 0; k < op.out().size(); ++k) renaming.rename(op.out()[k].value, first.out()[k].value);
      shared = true;
    }
    if (!shared) known.emplace(hash, i);
  }
  renaming.finish();
}

}  // namespace anneal::passes
