#include "graph/passes/chains.h"

#include <algorithm>
#include <cstdlib>

#include "op/infer.h"
#include "ops/arithmetic.h"
#include "ops/random.h"
#include "runtime/backend.h"
#include "runtime/philox.h"

namespace anneal::passes {
namespace {

void joinedCpu(const Call<Joined>& call) { cpu::runChain(call.attrs.chain, call.in, call.out); }

/// Whether its elements can be counted and reached in 31 bits.
bool within31Bits(const View& v) {
  constexpr int64_t kMost = int64_t(1) << 31;
  int64_t reach = 0;
  for (int i = 0; i < v.shape.rank(); ++i) reach += (v.shape[i] - 1) * std::abs(v.strides[i]);
  return v.size() < kMost && reach < kMost;
}

bool isDropout(const Operation& op) { return op.row == &ops::dropoutMask.row(); }
const ops::DropoutMask& dropoutOf(const Operation& op) { return *static_cast<const ops::DropoutMask*>(op.attrs.get()); }

/// Whether it is a dropout that leaves something, under a key that is in memory before the chain begins.
bool dropsOnGpu(const Graph& graph, const Operation& op) {
  if (!isDropout(op) || philox::fraction(dropoutOf(op).p) >> 32) return false;
  const int key = op.in()[1].value;
  return key >= 0 && graph.values[size_t(key)].kind != Value::Kind::Result;
}

bool joinableOnGpu(const Graph& graph, const Operation& op) {
  return (op.row->pointwise || op.row == &ops::cast.row() || dropsOnGpu(graph, op)) &&
         std::all_of(op.operands.begin(), op.operands.end(), [](const Operand& o) { return within31Bits(o.view); });
}

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

bool fuses(const Graph& graph) {
  if (graph.device->type() == DeviceType::Cpu) return true;
  std::string problem;
  const Backend* cuda = cudaBackend(problem);
  return cuda && cuda->fusionProblem(*graph.device).empty();
}

cpu::Chain::Instruction instructionOf(const Operation& op) {
  const DType result = op.out()[0].view.dtype;
  cpu::Chain::Instruction out{
      .loop = nullptr, .result = result, .params = {}, .inputs = int(op.inputs), .from = {}, .to = 0};
  if (isDropout(op)) {
    const double p = dropoutOf(op).p;
    out.functor = cpu::Chain::kDropout;
    out.compute = computeType(result);
    out.params = {double(philox::fraction(p)), 1 / (1 - p)};
  }
  if (!op.row->pointwise) return out;
  const Pointwise p = op.row->pointwise(op.attrs.get());
  std::vector<View> in;
  for (const Operand& o : op.in()) in.push_back(o.view);
  out.compute = computeType(p.loops->boolResult ? promoted(std::span<const View>(in)) : result);
  out.loop = p.loops->of(out.compute);
  out.functor = p.functor;
  out.params = p.params;
  return out;
}

Operand inputOf(const Operation& op, size_t k) {
  Operand o = op.in()[k];
  if (isDropout(op) && k == 1) o.view.shape = {}, o.view.strides = {};
  return o;
}

bool joinable(const Graph& graph, const Operation& op) {
  if (op.out().size() != 1) return false;
  if (graph.device->type() != DeviceType::Cpu) return fuses(graph) && joinableOnGpu(graph, op);
  if (!op.row->pointwise) return false;
  const DType dtype = op.out()[0].view.dtype;
  if (dtype != DType::Float32 && dtype != DType::Float64) return false;
  return !op.row->pointwise(op.attrs.get()).loops->boolResult;
}

Operation asChain(const Operation& op) {
  if (op.row == &joined.row()) return op;
  auto attrs = std::make_shared<Joined>();
  cpu::Chain& chain = attrs->chain;
  chain.compute = op.out()[0].view.dtype;
  chain.inputs = int(op.inputs);
  chain.registers = chain.inputs + 1;
  chain.instructions = {instructionOf(op)};
  chain.instructions[0].from = {0, 1, 2};
  chain.instructions[0].to = chain.inputs;
  chain.outputs = {chain.inputs};
  Operation whole = op;
  for (size_t k = 0; k < op.inputs; ++k) whole.operands[k] = inputOf(op, k);
  whole.row = &joined.row();
  whole.attrs = attrs;
  whole.note = op.row->name;
  return whole;
}

}  // namespace anneal::passes
