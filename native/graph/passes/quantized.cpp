#include <algorithm>

#include "graph/passes/layers.h"
#include "ops/activation.h"
#include "ops/conv_inference.h"
#include "ops/norm.h"
#include "ops/quantized.h"

namespace anneal::passes {
namespace {

class Quantized : LayerJoiner {
 public:
  using LayerJoiner::LayerJoiner;

  void run() {
    std::vector<LayerChain> chains;
    for (size_t i = 0; i < graph_.operations.size(); ++i)
      if (takes(int(i))) claim(chains.emplace_back(chainFrom(int(i))));
    replace(chains, [&](const LayerChain& chain, std::vector<Operation>& to) { join(chain, to); });
  }

 private:
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

  LayerChain chainFrom(int layer) const {
    LayerChain chain{.layer = layer};
    int next = follower(layer);
    auto folds = [&](const Operand& o) {
      return lasting(graph_, o) && (!o.view.defined || (o.view.dtype == DType::Float32 && o.view.contiguous()));
    };
    const auto in = at(layer).in();
    if (named(next, "batchNorm") && !linear(layer) && folds(in[2]) && folds(in[3]) &&
        std::all_of(at(next).in().begin() + 1, at(next).in().end(), folds)) {
      chain.norm = next;
      next = follower(next);
    }
    if (named(next, "add") && addResidual(chain, next)) next = follower(next);
    const bool gelu =
        named(next, "gelu") && static_cast<const ops::Gelu*>(at(next).attrs.get())->approximate == ops::GeluForm::None;
    if (named(next, "relu") || gelu) chain.activation = next;
    return chain;
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

  void join(const LayerChain& chain, std::vector<Operation>& to) {
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
                  .note = noteOf(chain),
                  .region = layer.region};
    to.push_back(std::move(all));
  }
};

}  // namespace

void fuseQuantized(Graph& graph) { Quantized(graph).run(); }

}  // namespace anneal::passes
