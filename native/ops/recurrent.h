#pragma once
#include "cpu/recurrent.h"
#include "op/define.h"

namespace anneal::ops {

enum class Nonlinearity { Tanh, Relu };
struct Rnn {
  Nonlinearity nonlinearity = Nonlinearity::Tanh;
  bool reverse = false;
};
/// One recurrent layer in one direction, of each kind.
extern const Op<Rnn> rnn;

struct Direction {
  bool reverse = false;
};
extern const Op<Direction> lstm, gru;

struct Recurrent {
  cpu::Cell cell = cpu::Cell::Tanh;
  bool reverse = false;
};
/// What all kinds are made of, and its gradient up to the sums of the gates; see cpu/recurrent.h for the outputs.
extern const Op<Recurrent> recurrentLayer, recurrentGrad;

/// The places of their inputs; those of the layer come first among those of the gradient.
namespace recurrent {
enum Input { X, WeightIh, WeightHh, BiasIh, BiasHh, H0, C0, Lengths, Y, Gates, Cells, GradY, GradH, GradC };
inline constexpr size_t kLayerInputs = Y;

/// Both as compositions of other ops, step by step.
Tensors lowerLayer(const Args<Recurrent>& c);
Tensors lowerGrad(const Args<Recurrent>& c);
}  // namespace recurrent

}  // namespace anneal::ops
