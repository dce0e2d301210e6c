#include <algorithm>

#include "cpu/fused_blocks.h"
#include "graph/passes/chains.h"
#include "ops/linear.h"
#include "ops/matmul.h"
#include "ops/norm.h"

namespace anneal::passes {
namespace {

/// A kernel that hands its first result on block by block. The memory of that is only for working then.
using Producer = void (*)(const void* attrs, std::span<const View> in, std::span<const View> out,
                          const cpu::BlockWork& then);

template <cpu::Gemm (*Of)(std::span<const View>, const View&)>
void multiply(const void*, std::span<const View> in, std::span<const View> out, const cpu::BlockWork& then) {
  cpu::Gemm g = Of(in, out[0]);
  g.then = &then;
  cpu::gemm(g);
}

void rowsGradient(const void* attrs, std::span<const View> in, std::span<const View> out, const cpu::BlockWork& then) {
  ops::rowsGradientCpu({*static_cast<const ops::NormalizeRows*>(attrs), in, out}, &then);
}

Producer producerOf(const Operation& op) {
  if (op.row == &ops::linear.row()) return multiply<ops::linearProduct>;
  if (op.row == &ops::matmul.row()) return multiply<ops::matmulProduct>;
  return op.row == &ops::normalizeRowsGradient.row() ? rowsGradient : nullptr;
}

/// The columns of the matrix that the result is for the kernel.
int64_t widthOf(const Operation& op) {
  const Shape& shape = op.out()[0].view.shape;
  if (op.row == &ops::linear.row()) return shape.back();
  if (op.row == &ops::matmul.row()) return op.in()[1].view.shape.rank() > 1 ? shape.back() : 1;
  const auto axes = static_cast<const ops::NormalizeRows*>(op.attrs.get())->axes;
  return shape.slice(shape.rank() - int(axes), shape.rank()).product();
}

/// An operation and the chain of elementwise ones that reads its first result. Inputs: those of the operation, then the
/// others of the chain. Outputs: those of the chain, then the others of the operation.
struct WithEpilogue {
  Producer producer = nullptr;
  AttrsRef attrs;
  size_t inputs = 0;  // of the operation
  int64_t width = 0;  // of the matrix that it makes block by block
  cpu::Chain chain;   // register 0 is the result
};

void withEpilogueCpu(const Call<WithEpilogue>& call) {
  const WithEpilogue& a = call.attrs;
  const size_t chained = a.chain.outputs.size();
  // The result may lie where the chain's last instruction puts its own: nobody reads the first after that.
  const int last = a.chain.outputs[0] == 0 ? 0 : a.chain.instructions.back().to;
  const auto place = std::find(a.chain.outputs.begin(), a.chain.outputs.end(), last) - a.chain.outputs.begin();
  std::vector<View> out{call.out[size_t(place)]};
  out.insert(out.end(), call.out.begin() + int64_t(chained), call.out.end());
  const cpu::ChainOnBlocks chain(a.chain, call.in.subspan(a.inputs), call.out.first(chained), a.width);
  a.producer(a.attrs.get(), call.in.first(a.inputs), out, chain);
}

const Op<WithEpilogue> withEpilogue({.name = "fusedEpilogue",
                                     .doc = "An operation with elementwise ones on its results while these are in "
                                            "cache; made when a graph is planned.",
                                     .inputs = {"tensors..."},
                                     .outputs = {"results..."},
                                     .nonDifferentiable = true,
                                     .method = false,
                                     .internal = true,
                                     .anyStrides = true});
const Implement<WithEpilogue> withEpilogueOnCpu("fusedEpilogue", DeviceType::Cpu, withEpilogueCpu);

class Epilogues {
 public:
  explicit Epilogues(Graph& graph)
      : graph_(graph), uses_(graph), chainOf_(graph.operations.size(), -1), producerOf_(graph.operations.size(), -1) {}

  void run() {
    for (size_t i = 0; i < graph_.operations.size(); ++i) {
      const int producer = findProducer(int(i));
      if (producer < 0) continue;
      chainOf_[size_t(producer)] = int(i);
      producerOf_[i] = producer;
    }
    std::vector<Operation> rest;
    for (size_t i = 0; i < graph_.operations.size(); ++i) {
      if (chainOf_[i] >= 0) continue;
      if (producerOf_[i] < 0) rest.push_back(std::move(graph_.operations[i]));
      else rest.push_back(join(at(producerOf_[i]), asChain(at(int(i))), int(i)));
    }
    graph_.operations = std::move(rest);
  }

 private:
  const Operation& at(int i) const { return graph_.operations[size_t(i)]; }

  /// The last operation among those that a chain reads from which it may take over; or -1.
  int findProducer(int i) const {
    if (graph_.device->type() != DeviceType::Cpu || !isChain(graph_, at(i))) return -1;
    int found = -1;
    for (const Operand& o : at(i).in()) {
      const int writer = o.value < 0 ? -1 : uses_.writer[size_t(o.value)];
      if (writer > found && suits(writer, i)) found = writer;
    }
    return found;
  }

  bool suits(int producer, int chain) const {
    if (chain - producer > kReach || chainOf_[size_t(producer)] >= 0 || !producerOf(at(producer))) return false;
    const int value = at(producer).out()[0].value;
    const Value& v = graph_.values[size_t(value)];
    if (v.spec != graph_.values[size_t(at(chain).out()[0].value)].spec || v.spec.shape.rank() == 0) return false;
    if (at(producer).row->anyStrides == false)  // its kernel gets inputs as they are
      for (const Operand& o : at(producer).in())
        if (o.view.defined && !o.view.contiguous()) return false;
    bool read = false;
    for (const Operand& o : at(chain).in()) {
      if (o.value == value && !o.whole(v)) return false;
      read |= o.value == value;
    }
    for (const Operand& o : at(producer).out())
      for (int reader : uses_.readers[size_t(o.value)])
        if (reader < chain || (reader == chain && o.value != value)) return false;
    return read;
  }

  bool escapes(int value, int chain) const {
    const auto& readers = uses_.readers[size_t(value)];
    return uses_.kept[size_t(value)] ||
           std::any_of(readers.begin(), readers.end(), [&](int reader) { return reader != chain; });
  }

  Operation join(const Operation& producer, const Operation& chained, int at) const {
    const Operand& made = producer.out()[0];
    auto attrs = std::make_shared<WithEpilogue>();
    attrs->producer = producerOf(producer);
    attrs->attrs = producer.attrs;
    attrs->inputs = producer.inputs;
    attrs->width = widthOf(producer);
    Operation all{.row = &withEpilogue.row(), .attrs = attrs, .region = chained.region};
    all.operands.assign(producer.in().begin(), producer.in().end());
    attrs->chain = after(made.value, chained, all.operands);
    all.inputs = all.operands.size();
    if (escapes(made.value, at)) {
      attrs->chain.outputs.insert(attrs->chain.outputs.begin(), 0);
      all.operands.push_back(made);
    }
    all.operands.insert(all.operands.end(), chained.out().begin(), chained.out().end());
    all.operands.insert(all.operands.end(), producer.out().begin() + 1, producer.out().end());
    all.cost = producer.cost + chained.cost;
    all.note = producer.row->name + " " + chained.note;
    return all;
  }

  /// The chain with `value` in register 0; adds its other inputs to `operands`.
  static cpu::Chain after(int value, const Operation& chained, std::vector<Operand>& operands) {
    cpu::Chain chain = static_cast<const Joined*>(chained.attrs.get())->chain;
    std::vector<int> now;  // numbers of registers
    int registers = 1;
    for (const Operand& o : chained.in()) {
      now.push_back(o.value == value ? 0 : registers++);
      if (o.value != value) operands.push_back(o);
    }
    const int inputs = registers;
    while (int(now.size()) < chain.registers) now.push_back(registers++);
    chain.inputs = inputs;
    chain.registers = registers;
    for (auto& instruction : chain.instructions) {
      for (int k = 0; k < instruction.inputs; ++k)
        instruction.from[size_t(k)] = now[size_t(instruction.from[size_t(k)])];
      instruction.to = now[size_t(instruction.to)];
    }
    for (int& output : chain.outputs) output = now[size_t(output)];
    return chain;
  }

  Graph& graph_;
  const Uses uses_;
  std::vector<int> chainOf_, producerOf_;  // what an operation is joined with; -1: nothing
};

}  // namespace

void fuseEpilogues(Graph& graph) { Epilogues(graph).run(); }

}  // namespace anneal::passes
