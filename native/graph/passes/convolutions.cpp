#include <algorithm>

#include "graph/passes/passes.h"
#include "ops/conv_inference.h"
#include "ops/norm.h"

namespace anneal::passes {
namespace {

/// A convolution and what follows it, as operations of the graph; -1: not there.
struct Chain {
  int conv = -1, norm = -1, add = -1, relu = -1;
  Operand residual;
  int last() const { return std::max({conv, norm, add, relu}); }
};

class Convolutions {
 public:
  explicit Convolutions(Graph& graph) : graph_(graph), uses_(graph), joined_(graph.operations.size()) {}

  void run() {
    for (size_t i = 0; i < graph_.operations.size(); ++i)
      if (isConvolution(int(i))) collect(int(i));
    std::vector<Operation> rest;
    for (size_t i = 0; i < graph_.operations.size(); ++i) {
      const auto chain =
          std::find_if(chains_.begin(), chains_.end(), [&](const Chain& c) { return c.last() == int(i); });
      if (chain != chains_.end()) join(*chain, rest);
      else if (!joined_[i]) rest.push_back(std::move(graph_.operations[i]));
    }
    graph_.operations = std::move(rest);
  }

 private:
  const Operation& at(int i) const { return graph_.operations[size_t(i)]; }
  const Value& valueOf(const Operand& o) const { return graph_.values[size_t(o.value)]; }

  bool isConvolution(int i) const {
    const std::string& name = at(i).row->name;
    if (name != "conv1d" && name != "conv2d" && name != "conv3d") return false;
    // Gradients read what the convolution gave: in a graph that trains, cells are written.
    return graph_.device->type() == DeviceType::Cpu && at(i).in()[1].value >= 0 && lasting(graph_, at(i).in()[1]) &&
           lasting(graph_, at(i).in()[2]) && valueOf(at(i).in()[1]).spec.shape.rank() > 2 &&
           at(i).in()[1].whole(valueOf(at(i).in()[1]));
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

  void collect(int conv) {
    Chain chain{.conv = conv};
    int next = follower(conv);
    auto named = [&](const char* name) { return next >= 0 && at(next).row->name == name; };
    auto folds = [&](const Operand& o) {
      return lasting(graph_, o) && (!o.view.defined || o.view.dtype == dtypeOf(conv)) &&
             (o.value < 0 || o.whole(valueOf(o)));
    };
    if (named("batchNorm") && std::all_of(at(next).in().begin() + 1, at(next).in().end(), folds)) {
      chain.norm = next;
      next = follower(next);
    }
    if (named("add") && addResidual(chain, next)) next = follower(next);
    if (named("relu")) chain.relu = next;
    if (chain.last() == conv && cpu::packedConvSize(shapeOf(conv), dtypeOf(conv)) == 0) return;
    for (int i : {chain.conv, chain.norm, chain.add, chain.relu})
      if (i >= 0) joined_[size_t(i)] = true;
    chains_.push_back(chain);
  }

  /// Takes the other operand of an addition for the residual where it has the result's shape and is there already.
  bool addResidual(Chain& chain, int add) const {
    const int made = at(chain.last()).out()[0].value;
    const Operand& other = at(add).in()[at(add).in()[0].value == made ? 1 : 0];
    if (other.value < 0 || other.value == made || !other.whole(valueOf(other))) return false;
    if (valueOf(other).spec != graph_.values[size_t(made)].spec) return false;
    chain.add = add;
    chain.residual = other;
    return true;
  }

  const ops::Conv& attrsOf(int conv) const { return *static_cast<const ops::Conv*>(at(conv).attrs.get()); }
  DType dtypeOf(int conv) const { return at(conv).out()[0].view.dtype; }
  cpu::ConvShape shapeOf(int conv) const {
    return ops::convShape(at(conv).row->name, attrsOf(conv), at(conv).in()[0].view.shape, at(conv).in()[1].view.shape);
  }

  /// A new operation with one new result.
  Operand emit(std::vector<Operation>& to, const Row& row, AttrsRef attrs, std::vector<Operand> in, const Spec& spec) {
    Operand out = whole(graph_.add({.spec = spec}));
    const size_t inputs = in.size();
    in.push_back(out);
    to.push_back({.row = &row,
                  .attrs = std::move(attrs),
                  .operands = std::move(in),
                  .inputs = inputs,
                  .cost = double(spec.size())});
    return out;
  }

  Operand whole(int value) const {
    const Spec& spec = graph_.values[size_t(value)].spec;
    Operand o{.value = value};
    o.view.shape = spec.shape;
    o.view.strides = contiguousStrides(spec.shape);
    o.view.dtype = spec.dtype;
    return o;
  }

  static Operand none() {
    Operand o;
    o.view.defined = false;
    return o;
  }

  void join(const Chain& chain, std::vector<Operation>& to) {
    const Operation conv = at(chain.conv);
    const DType dtype = dtypeOf(chain.conv);
    Operand weight = conv.in()[1], bias = conv.in()[2], packed = none();
    if (chain.norm >= 0) {
      const Operation norm = at(chain.norm);
      auto eps = std::make_shared<ops::FoldNorm>();
      eps->eps = static_cast<const ops::BatchNorm*>(norm.attrs.get())->eps;
      const Spec channels{{weight.view.shape[0]}, dtype};
      bias = emit(to, ops::foldNormBias.row(), eps, {bias, norm.in()[1], norm.in()[2], norm.in()[3], norm.in()[4]},
                  channels);
      weight =
          emit(to, ops::foldNormWeight.row(), eps, {weight, norm.in()[2], norm.in()[3]}, {weight.view.shape, dtype});
    }
    auto attrs = std::make_shared<ops::ConvInference>();
    static_cast<ops::Conv&>(*attrs) = attrsOf(chain.conv);
    attrs->relu = chain.relu >= 0;
    if (const int64_t size = cpu::packedConvSize(shapeOf(chain.conv), dtype)) {
      auto pack = std::make_shared<ops::PackConv>();
      static_cast<ops::Conv&>(*pack) = attrsOf(chain.conv);
      pack->size = conv.in()[0].view.shape.ints();
      packed = emit(to, ops::packConv.row(), pack, {weight}, {{size}, dtype});
      attrs->packed = true;
      weight = conv.in()[1];  // for its shape: the folded one need not be kept
    }
    Operation all{.row = &ops::convInference.row(),
                  .attrs = attrs,
                  .operands = {conv.in()[0], weight, packed, bias, chain.add >= 0 ? chain.residual : none(),
                               at(chain.last()).out()[0]},
                  .inputs = 5,
                  .cost = conv.cost,
                  .note = conv.row->name};
    for (int i : {chain.norm, chain.add, chain.relu})
      if (i >= 0) all.note += " " + at(i).row->name;
    to.push_back(std::move(all));
  }

  Graph& graph_;
  const Uses uses_;
  std::vector<bool> joined_;
  std::vector<Chain> chains_;
};

}  // namespace

void fuseConvolutions(Graph& graph) { Convolutions(graph).run(); }

}  // namespace anneal::passes
