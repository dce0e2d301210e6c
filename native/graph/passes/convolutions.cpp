#include <algorithm>

#include "graph/passes/layers.h"
#include "ops/conv_inference.h"
#include "ops/norm.h"

namespace anneal::passes {
namespace {

class Convolutions : LayerJoiner {
 public:
  using LayerJoiner::LayerJoiner;

  void run() {
    for (size_t i = 0; i < graph_.operations.size(); ++i)
      if (isConvolution(int(i))) collect(int(i));
    replace(chains_, [&](const LayerChain& chain, std::vector<Operation>& to) { join(chain, to); });
  }

 private:
  bool isConvolution(int i) const {
    const std::string& name = at(i).row->name;
    if (name != "conv1d" && name != "conv2d" && name != "conv3d") return false;
    // Gradients read what the convolution gave: in a graph that trains, cells are written.
    return at(i).in()[1].value >= 0 && lasting(graph_, at(i).in()[1]) && lasting(graph_, at(i).in()[2]) &&
           valueOf(at(i).in()[1]).spec.shape.rank() > 2 && at(i).in()[1].whole(valueOf(at(i).in()[1]));
  }

  void collect(int conv) {
    LayerChain chain{.layer = conv};
    int next = follower(conv);
    auto folds = [&](const Operand& o) {
      return lasting(graph_, o) && (!o.view.defined || o.view.dtype == dtypeOf(conv)) &&
             (o.value < 0 || o.whole(valueOf(o)));
    };
    if (named(next, "batchNorm") && std::all_of(at(next).in().begin() + 1, at(next).in().end(), folds)) {
      chain.norm = next;
      next = follower(next);
    }
    if (named(next, "add") && addResidual(chain, next)) next = follower(next);
    if (named(next, "relu")) chain.activation = next;
    if (chain.last() == conv && packedSize(conv) == 0) return;
    claim(chain);
    chains_.push_back(chain);
  }

  const ops::Conv& attrsOf(int conv) const { return *static_cast<const ops::Conv*>(at(conv).attrs.get()); }
  DType dtypeOf(int conv) const { return at(conv).out()[0].view.dtype; }
  cpu::ConvShape shapeOf(int conv) const {
    return ops::convShape(at(conv).row->name, attrsOf(conv), at(conv).in()[0].view.shape, at(conv).in()[1].view.shape);
  }

  /// Of the weight as the CPU's kernels want it; 0: as it is.
  int64_t packedSize(int conv) const {
    return graph_.device->type() == DeviceType::Cpu ? cpu::packedConvSize(shapeOf(conv), dtypeOf(conv)) : 0;
  }

  void join(const LayerChain& chain, std::vector<Operation>& to) {
    const Operation conv = at(chain.layer);
    const DType dtype = dtypeOf(chain.layer);
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
    static_cast<ops::Conv&>(*attrs) = attrsOf(chain.layer);
    attrs->relu = chain.activation >= 0;
    if (const int64_t size = packedSize(chain.layer)) {
      auto pack = std::make_shared<ops::PackConv>();
      static_cast<ops::Conv&>(*pack) = attrsOf(chain.layer);
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
                  .note = noteOf(chain)};
    to.push_back(std::move(all));
  }

  std::vector<LayerChain> chains_;
};

}  // namespace

void fuseConvolutions(Graph& graph) { Convolutions(graph).run(); }

}  // namespace anneal::passes
