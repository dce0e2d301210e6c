#include "graph/passes/epilogues.h"

#include <algorithm>

#include "cpu/fused_blocks.h"
#include "graph/passes/chains.h"
#include "graph/passes/norms.h"
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

Producer producerOf(const Row* row) {
  if (row == &ops::linear.row()) return multiply<ops::linearProduct>;
  if (row == &ops::matmul.row()) return multiply<ops::matmulProduct>;
  return row == &ops::normalizeRowsGradient.row() ? rowsGradient : nullptr;
}

bool isNorm(const Operation& op) { return op.row == &normAfter.row() || isRowNorm(op.row); }

/// The output that a chain may go on with.
const Operand& resultOf(const Operation& op) {
  return op.out()[op.row == &normAfter.row() ? static_cast<const NormAfter*>(op.attrs.get())->result : 0];
}

/// The columns of the matrix that the result is for the kernel.
int64_t widthOf(const Operation& op) {
  const Shape& shape = op.out()[0].view.shape;
  if (op.row == &ops::linear.row()) return shape.back();
  if (op.row == &ops::matmul.row()) return op.in()[1].view.shape.rank() > 1 ? shape.back() : 1;
  return op.row == &normAfter.row() ? static_cast<const NormAfter*>(op.attrs.get())->width : normWidth(op);
}

void withEpilogueCpu(const Call<WithEpilogue>& call) {
  const WithEpilogue& a = call.attrs;
  const size_t chained = a.chain.outputs.size();
  // The result may lie where the chain's last instruction puts its own: nobody reads the first after that.
  const int last = a.chain.outputs[0] == 0 ? 0 : a.chain.instructions.back().to;
  const auto place = std::find(a.chain.outputs.begin(), a.chain.outputs.end(), last) - a.chain.outputs.begin();
  std::vector<View> out{call.out[size_t(place)]};
  out.insert(out.end(), call.out.begin() + int64_t(chained), call.out.end());
  const cpu::ChainOnBlocks chain(a.chain, call.in.subspan(a.inputs), call.out.first(chained), a.width);
  producerOf(a.row)(a.attrs.get(), call.in.first(a.inputs), out, chain);
}

const Implement<WithEpilogue> withEpilogueOnCpu("fusedEpilogue", DeviceType::Cpu, withEpilogueCpu);

class Epilogues {
 public:
  Epilogues(Graph& graph, Producers producers)
      : graph_(graph),
        producers_(producers),
        uses_(graph),
        chainOf_(graph.operations.size(), -1),
        producerOf_(graph.operations.size(), -1) {
    place_.resize(graph.operations.size());
    std::iota(place_.begin(), place_.end(), 0);
  }

  void run() {
    for (size_t i = 0; i < graph_.operations.size(); ++i) {
      const int producer = findProducer(int(i));
      if (producer < 0) continue;
      chainOf_[size_t(producer)] = int(i);
      producerOf_[i] = producer;
      place_[size_t(producer)] = place_[i] = early(producer, int(i)) ? producer : int(i);
    }
    std::vector<Operation> rest;
    for (int i = 0; i < int(graph_.operations.size()); ++i) {
      const int chain = chainOf_[size_t(i)] >= 0 ? chainOf_[size_t(i)] : i, producer = producerOf_[size_t(chain)];
      if (place_[size_t(i)] != i) continue;
      rest.push_back(producer < 0 ? graph_.operations[size_t(i)] : join(at(producer), at(chain), chain));
    }
    graph_.operations = std::move(rest);
  }

 private:
  const Operation& at(int i) const { return graph_.operations[size_t(i)]; }
  bool onGpu() const { return graph_.device->type() != DeviceType::Cpu; }
  static bool isElementwise(const Operation& op) {
    return op.row == &joined.row() || (op.row->pointwise && op.out().size() == 1);
  }

  /// Whether an operation takes chains over.
  bool takes(const Operation& op) const {
    if (isProduct(op)) return producers_ != Producers::Norms;
    return producers_ != Producers::Products && (onGpu() ? isNorm(op) : producerOf(op.row) != nullptr);
  }

  /// The last operation among those that a chain reads from which it may take over; or -1.
  int findProducer(int i) const {
    const bool products = onGpu() && producers_ == Producers::Products;
    if (!(products ? isElementwise(at(i)) : isChain(graph_, at(i)))) return -1;
    int found = -1;
    for (const Operand& o : at(i).in()) {
      const int writer = o.value < 0 ? -1 : uses_.writer[size_t(o.value)];
      if (writer > found && suits(writer, i)) found = writer;
    }
    return found;
  }

  bool suits(int producer, int chain) const {
    if (chain - producer > kReach || chainOf_[size_t(producer)] >= 0 || !takes(at(producer))) return false;
    const bool atProducer = early(producer, chain);
    if (!atProducer && updatedBetween(producer, chain)) return false;
    const int value = resultOf(at(producer)).value;
    const Spec &made = graph_.values[size_t(value)].spec, &next = graph_.values[size_t(at(chain).out()[0].value)].spec;
    if (made.shape != next.shape || (made != next && !(onGpu() && isNorm(at(producer)))) || made.shape.rank() == 0)
      return false;
    if (at(producer).row->anyStrides == false)  // its kernel gets inputs as they are
      for (const Operand& o : at(producer).in())
        if (o.view.defined && !o.view.contiguous()) return false;
    bool read = false;
    for (const Operand& o : at(chain).in()) {
      if (o.value == value && !o.whole(graph_.values[size_t(value)])) return false;
      read |= o.value == value;
    }
    for (const Operand& o : at(producer).out())
      for (int reader : uses_.readers[size_t(o.value)])
        if ((reader < chain && !(atProducer && onGpu() && !isProduct(at(producer)))) ||
            (reader == chain && o.value != value))
          return false;
    return read && (!onGpu() || takesOnGpu(producer, chain));
  }

  /// Whether all that the chain reads beside the result is there when the producer begins: then both are done at the
  /// place of the producer, else at that of the chain.
  bool early(int producer, int chain) const {
    return std::all_of(at(chain).in().begin(), at(chain).in().end(), [&](const Operand& o) {
      const int writer = o.value < 0 ? -1 : uses_.writer[size_t(o.value)];
      return writer == producer || writer < 0 || place_[size_t(writer)] < producer;
    });
  }

  /// Whether a parameter that the producer reads is updated before the chain: the update could not be made in place.
  bool updatedBetween(int producer, int chain) const {
    return std::any_of(at(producer).in().begin(), at(producer).in().end(), [&](const Operand& o) {
      if (o.value < 0 || graph_.values[size_t(o.value)].kind != Value::Kind::Cell) return false;
      const int written = graph_.cells[size_t(graph_.values[size_t(o.value)].index)].written;
      const int writer = written < 0 ? -1 : uses_.writer[size_t(written)];
      return writer > producer && writer < chain;
    });
  }

  /// Whether a GPU's products take the chain over, or a kernel for a norm's gradient that is written for it.
  bool takesOnGpu(int producer, int chain) const {
    std::vector<Operand> others;
    if (isProduct(at(producer))) return attrsOf(at(producer), at(chain), chain, others).form.has_value();
    const bool after = at(producer).row == &normAfter.row();
    const size_t chained = after ? at(producer).inputs - kNormInputs : 0;
    return chained + at(chain).inputs <= kMostNormInputs && resultOf(at(producer)).view.size() > 0;
  }

  bool escapes(int value, int chain) const {
    const auto& readers = uses_.readers[size_t(value)];
    return uses_.kept[size_t(value)] ||
           std::any_of(readers.begin(), readers.end(), [&](int reader) { return reader != chain; });
  }

  /// What both are as one; `others` gets the inputs of the chain beside the result.
  WithEpilogue attrsOf(const Operation& producer, const Operation& chained, int at,
                       std::vector<Operand>& others) const {
    const int made = resultOf(producer).value;
    WithEpilogue all{
        .row = producer.row, .attrs = producer.attrs, .inputs = producer.inputs, .width = widthOf(producer)};
    all.chain = after(made, asChain(chained), others);
    if (escapes(made, at)) all.chain.outputs.insert(all.chain.outputs.begin(), 0);
    if (onGpu() && isProduct(producer)) all.form = formOf(producer, all, others);
    return all;
  }

  static std::optional<ProductForm> formOf(const Operation& producer, const WithEpilogue& all,
                                           const std::vector<Operand>& others) {
    std::vector<View> in;
    for (const Operand& o : others) {
      in.push_back(o.view);
      if (o.value < 0) return std::nullopt;  // a literal
    }
    auto form = productForm(all.chain, in, producer.out()[0].view, all.width);
    if (form && form->bias >= 0 && producer.inputs > 2 && producer.in()[2].view.defined) return std::nullopt;
    return form;
  }

  Operation join(const Operation& producer, const Operation& chained, int at) const {
    const Operand& made = resultOf(producer);
    std::vector<Operand> others;
    auto attrs = std::make_shared<WithEpilogue>(attrsOf(producer, chained, at, others));
    Operation all{.row = &withEpilogue.row(), .attrs = attrs, .region = chained.region};
    all.operands.assign(producer.in().begin(), producer.in().end());
    all.operands.insert(all.operands.end(), others.begin(), others.end());
    all.inputs = all.operands.size();
    if (escapes(made.value, at)) all.operands.push_back(made);
    all.operands.insert(all.operands.end(), chained.out().begin(), chained.out().end());
    for (const Operand& o : producer.out())
      if (o.value != made.value) all.operands.push_back(o);
    all.cost = producer.cost + chained.cost;
    all.note = noteOf(producer) + " " + noteOf(chained);
    return all;
  }

  /// What a joined operation stands for.
  static std::string noteOf(const Operation& op) { return op.note.empty() ? op.row->name : op.note; }

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
  const Producers producers_;
  const Uses uses_;
  std::vector<int> chainOf_, producerOf_;  // what an operation is joined with; -1: nothing
  std::vector<int> place_;                 // where it will stand
};

}  // namespace

const Op<WithEpilogue> withEpilogue({.name = "fusedEpilogue",
                                     .doc = "An operation with elementwise ones on its results while these are in "
                                            "cache; made when a graph is planned.",
                                     .inputs = {"tensors..."},
                                     .outputs = {"results..."},
                                     .nonDifferentiable = true,
                                     .method = false,
                                     .internal = true,
                                     .anyStrides = true});

bool isProduct(const Operation& op) { return op.row == &ops::linear.row() || op.row == &ops::matmul.row(); }

void fuseEpilogues(Graph& graph, Producers producers) { Epilogues(graph, producers).run(); }

}  // namespace anneal::passes
