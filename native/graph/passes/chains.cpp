#include "graph/passes/chains.h"

namespace anneal::passes {
namespace {

void joinedCpu(const Call<Joined>& call) { cpu::runChain(call.attrs.chain, call.in, call.out); }

}  // namespace

const Op<Joined> joined({.name = "fusedElementwise",
                         .doc = "A chain of elementwise operations in one pass; made when a graph is planned.",
                         .inputs = {"tensors..."},
                         .outputs = {"results..."},
                         .nonDifferentiable = true,
                         .method = false,
                         .internal = true,
                         .anyStrides = true,
                         .overwrites = true});
const Implement<Joined> joinedOnCpu("fusedElementwise", DeviceType::Cpu, joinedCpu);

bool joinable(const Graph& graph, const Operation& op) {
  if (graph.device->type() != DeviceType::Cpu || !op.row->pointwise || op.out().size() != 1) return false;
  const DType dtype = op.out()[0].view.dtype;
  if (dtype != DType::Float32 && dtype != DType::Float64) return false;
  return !op.row->pointwise(op.attrs.get()).loops->boolResult;
}

Operation asChain(const Operation& op) {
  if (op.row == &joined.row()) return op;
  const Pointwise p = op.row->pointwise(op.attrs.get());
  auto attrs = std::make_shared<Joined>();
  cpu::Chain& chain = attrs->chain;
  chain.compute = op.out()[0].view.dtype;
  chain.inputs = int(op.inputs);
  chain.registers = chain.inputs + 1;
  chain.instructions = {{.loop = p.loops->of(chain.compute),
                         .params = p.params,
                         .inputs = chain.inputs,
                         .from = {0, 1, 2},
                         .to = chain.inputs}};
  chain.outputs = {chain.inputs};
  Operation whole = op;
  whole.row = &joined.row();
  whole.attrs = attrs;
  whole.note = op.row->name;
  return whole;
}

}  // namespace anneal::passes
