#include <algorithm>

#include "graph/passes/passes.h"
#include "ops/activation.h"
#include "ops/conv_inference.h"
#include "ops/norm.h"
#include "ops/quantized.h"

namespace anneal::passes {
namespace {

/// A quantised layer and what follows it, as operations of the graph; -1: not there.
struct Chain {
  int layer = -1, norm = -1, add = -1, activation = -1;
  Operand residual;
  int last() const { return std::max({layer, norm, add, activation}); }
};

class Quantized {
 public:
  explicit Quantized(Graph& graph) : graph_(graph), uses_(graph), joined_(graph.operations.size()) {}

  void run() {
    std::vector<Chain> chains(graph_.operations.size());
    for (size_t i = 0; i < chains.size(); ++i)
      if (takes(int(i))) {
        const Chain chain = chainFrom(int(i));
        for (int member : {chain.layer, chain.norm, chain.add, chain.activation})
          if (member >= 0) joined_[size_t(member)] = true;
        chains[size_t(chain.last())] = chain;
      }
    std::vector<Operation> rest;
    for (size_t i = 0; i < chains.size(); ++i) {
      if (chains[i].layer >= 0) join(chains[i], rest);
      else if (!joined_[i]) rest.push_back(std::move(graph_.operations[i]));
    }
    graph_.operations = std::move(rest);
  }

 private:
  const Operation& at(int i) const { return graph_.operations[size_t(i)]; }
  const Value& valueOf(const Operand& o) const { return graph_.values[size_t(o.value)]; }
  bool linear(int i) const { return at(i).row == &ops::quantizedLinear.row(); }

  /// Whether it is a quantised layer of float32 activations whose weights do not change.
  bool takes(int i) const {
    const Row* row = at(i).row;
    const bool quantized = linear(i) || row == &ops::quantizedConv1d.row() || row == &ops::quantizedConv2d.row() ||
                           row == &ops::quantizedConv3d.row();
    return quantized && graph_.device->type() == DeviceType::Cpu && at(i).in()[1].value >= 0 &&
           at(i).out()[0].view.dtype == DType::Float32 &&
           std::all_of(at(i).in().begin() + 1, at(i).in().end(), [&](const Operand& o) { return lasting(graph_, o); });
  }

  /// The only reader of an operation's result, which reads it as it lies; or -1.
  int follower(int i) const {
    const Operand& out = at(i).out()[0];
    const int reader = uses_.onlyReader(out.value);
    if (reader < 0 || joined_[size_t(reader)]) return -1;
    for (const Operand& o : at(reader).in())
      if (o.value == out.value && !o.whole(valueOf(out))) return -1;
    return reader;
  }

  Chain chainFrom(int layer) const {
    Chain chain{.layer = layer};
    int next = follower(layer);
    auto named = [&](const char* name) { return next >= 0 && at(next).row->name == name; };
    auto folds = [&](const Operand& o) {
      return lasting(graph_, o) && (!o.view.defined || (o.view.dtype == DType::Float32 && o.view.contiguous()));
    };
    const auto in = at(layer).in();
    if (named("batchNorm") && !linear(layer) && folds(in[2]) && folds(in[3]) &&
        std::all_of(at(next).in().begin() + 1, at(next).in().end(), folds)) {
      chain.norm = next;
      next = follower(next);
    }
    if (named("add") && addsResidual(chain, next)) next = follower(next);
    const bool gelu =
        named("gelu") && static_cast<const ops::Gelu*>(at(next).attrs.get())->approximate == ops::GeluForm::None;
    if (named("relu") || gelu) chain.activation = next;
    return chain;
  }

  /// Takes the other operand of an addition for the residual where it has the result's shape.
  bool addsResidual(Chain& chain, int add) const {
    const int made = at(chain.last()).out()[0].value;
    const Operand& other = at(add).in()[at(add).in()[0].value == made ? 1 : 0];
    if (other.value < 0 || other.value == made || !other.whole(valueOf(other))) return false;
    if (valueOf(other).spec != graph_.values[size_t(made)].spec) return false;
    chain.add = add;
    chain.residual = other;
    return true;
  }

  /// A new operation on what lasts, with one new result.
  Operand emit(std::vector<Operation>& to, const Row& row, AttrsRef attrs, std::vector<Operand> operands,
               const Spec& spec) {
    Operand out{.value = graph_.add({.spec = spec})};
    out.view.shape = spec.shape;
    out.view.strides = contiguousStrides(spec.shape);
    out.view.dtype = spec.dtype;
    const size_t inputs = operands.size();
    operands.push_back(out);
    to.push_back({.row = &row,
                  .attrs = std::move(attrs),
                  .operands = std::move(operands),
                  .inputs = inputs,
                  .cost = double(spec.size())});
    return out;
  }

  static Operand none() {
    Operand o;
    o.view.defined = false;
    return o;
  }

  /// The plan of the weight's products, where there are enough rows to need one.
  Operand planOf(int layer, std::vector<Operation>& to) {
    const Operand& weight = at(layer).in()[1];
    const Shape &w = weight.view.shape, &y = at(layer).out()[0].view.shape;
    auto attrs = std::make_shared<ops::QuantizedPlan>();
    if (linear(layer)) {
      if (y.product() <= cpu::kInt8FewRows * w[0]) return none();
    } else {
      const auto& conv = *static_cast<const ops::Conv*>(at(layer).attrs.get());
      if (!cpu::int8ByProducts(ops::convShape("plan", conv, at(layer).in()[0].view.shape, w))) return none();
      attrs->groups = conv.groups;
    }
    return emit(to, ops::quantizedPlan.row(), attrs, {weight}, ops::planSpec(w, attrs->groups));
  }

  void join(const Chain& chain, std::vector<Operation>& to) {
    const Operation layer = at(chain.layer);
    Operand scale = layer.in()[2], bias = layer.in()[3];
    if (chain.norm >= 0) {
      const Operation norm = at(chain.norm);
      auto eps = std::make_shared<ops::FoldNorm>();
      eps->eps = static_cast<const ops::BatchNorm*>(norm.attrs.get())->eps;
      const Spec channels{scale.view.shape, DType::Float32};
      bias = emit(to, ops::foldNormBias.row(), eps, {bias, norm.in()[1], norm.in()[2], norm.in()[3], norm.in()[4]},
                  channels);
      scale = emit(to, ops::foldNormWeight.row(), eps, {scale, norm.in()[2], norm.in()[3]}, channels);
    }
    auto attrs = std::make_shared<ops::QuantizedInference>();
    attrs->linear = linear(chain.layer);
    if (!attrs->linear) static_cast<ops::Conv&>(*attrs) = *static_cast<const ops::Conv*>(layer.attrs.get());
    if (chain.activation >= 0)
      attrs->activation = at(chain.activation).row->name == "relu" ? cpu::Activation::Relu : cpu::Activation::Gelu;
    Operation all{.row = &ops::quantizedInference.row(),
                  .attrs = attrs,
                  .operands = {layer.in()[0], layer.in()[1], scale, planOf(chain.layer, to), bias,
                               chain.add >= 0 ? chain.residual : none(), at(chain.last()).out()[0]},
                  .inputs = 6,
                  .cost = layer.cost,
                  .note = layer.row->name,
                  .region = layer.region};
    for (int i : {chain.norm, chain.add, chain.activation})
      if (i >= 0) all.note += " " + at(i).row->name;
    to.push_back(std::move(all));
  }

  Graph& graph_;
  const Uses uses_;
  std::vector<bool> joined_;
};

}  // namespace

void fuseQuantized(Graph& graph) { Quantized(graph).run(); }

}  // namespace anneal::passes
