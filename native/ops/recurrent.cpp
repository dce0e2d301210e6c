#include "ops/recurrent.h"

#include "op/precision.h"
#include "ops/arithmetic.h"
#include "ops/join.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/slices.h"
#include "ops/views.h"

namespace anneal::ops {
namespace {

using cpu::Cell;
using namespace recurrent;

struct Sizes {
  Sizes(const Shape& x, const Shape& weightHh) : batch(x[0]), steps(x[1]), inputs(x[2]), units(weightHh[1]) {}
  int64_t batch, steps, inputs, units;
};
Sizes sizesOf(Inputs in) { return {in[X].shape(), in[WeightHh].shape()}; }
Sizes sizesOf(std::span<const View> in) { return {in[X].shape, in[WeightHh].shape}; }

const Shape kNothing{0};

Specs inferLayer(const Args<Recurrent>& c) {
  const Sizes s = sizesOf(c.in);
  const DType dtype = c.in[X].dtype();
  const bool lstm = c.attrs.cell == Cell::Lstm;
  const int64_t slots = cpu::gateSlots(c.attrs.cell);
  const Shape state{s.batch, s.units}, all{s.batch, s.steps, s.units};
  return {{all, dtype},
          {state, dtype},
          {lstm ? state : kNothing, dtype},
          {slots > 1 ? Shape{s.batch, s.steps, slots * s.units} : kNothing, dtype},
          {lstm ? all : kNothing, dtype}};
}

Specs inferGrad(const Args<Recurrent>& c) {
  const Sizes s = sizesOf(c.in);
  const DType dtype = c.in[X].dtype();
  const Shape state{s.batch, s.units};
  return {{{s.batch, s.steps, cpu::gateSlots(c.attrs.cell) * s.units}, dtype},
          {{s.batch, s.steps, s.units}, dtype},
          {state, dtype},
          {c.attrs.cell == Cell::Lstm ? state : kNothing, dtype}};
}

const void* dataOf(const View& v) { return v.defined ? v.data() : nullptr; }

cpu::Recurrence recurrenceOf(const Recurrent& attrs, std::span<const View> in) {
  const Sizes s = sizesOf(in);
  cpu::Recurrence r{.cell = attrs.cell,
                    .reverse = attrs.reverse,
                    .dtype = in[X].dtype,
                    .batch = s.batch,
                    .steps = s.steps,
                    .inputs = s.inputs,
                    .units = s.units};
  r.lengths = static_cast<const int64_t*>(dataOf(in[Lengths]));
  r.x = dataOf(in[X]);
  r.weightIh = dataOf(in[WeightIh]);
  r.weightHh = dataOf(in[WeightHh]);
  r.biasIh = dataOf(in[BiasIh]);
  r.biasHh = dataOf(in[BiasHh]);
  r.h0 = dataOf(in[H0]);
  r.c0 = dataOf(in[C0]);
  return r;
}

void layerCpu(const Call<Recurrent>& call) {
  cpu::RecurrenceForward r{recurrenceOf(call.attrs, call.in)};
  for (int64_t n = 0; r.lengths && n < r.batch; ++n) {
    require(r.lengths[n] >= 0 && r.lengths[n] <= r.steps, Code::Value, "lengths: row ", n, " is said to have ",
            r.lengths[n], " steps; expected 0 to ", r.steps, ", the steps of x");
  }
  r.y = call.out[0].data();
  r.h = call.out[1].data();
  r.c = call.out[2].data();
  r.gates = cpu::gateSlots(r.cell) > 1 ? call.out[3].data() : r.y;
  r.cells = call.out[4].data();
  cpu::recurrence(r);
}
const Implement<Recurrent> layerOnCpu("recurrentLayer", DeviceType::Cpu, layerCpu);

void gradCpu(const Call<Recurrent>& call) {
  cpu::RecurrenceBackward r{recurrenceOf(call.attrs, call.in)};
  r.y = call.in[Y].data();
  r.gates = cpu::gateSlots(r.cell) > 1 ? call.in[Gates].data() : r.y;
  r.cells = call.in[Cells].data();
  r.gradY = dataOf(call.in[GradY]);
  r.gradH = dataOf(call.in[GradH]);
  r.gradC = dataOf(call.in[GradC]);
  r.gradGates = call.out[0].data();
  r.previous = call.out[1].data();
  r.gradH0 = call.out[2].data();
  r.gradC0 = call.out[3].data();
  cpu::recurrenceBackward(r);
}
const Implement<Recurrent> gradOnCpu("recurrentGrad", DeviceType::Cpu, gradCpu);

Tensor part(const Tensor& x, int64_t start, int64_t size) {
  return narrow(x, {.axis = 1, .start = start, .size = size});
}

/// What flows to the weights is one product over all steps of all rows.
Tensors layerVjp(const Vjp<Recurrent>& v) {
  const Sizes s = sizesOf(v.call.in);
  const int64_t rows = s.batch * s.steps, H = s.units;
  Tensors given(v.call.in.begin(), v.call.in.end());
  for (size_t i : {0, 3, 4}) given.push_back(v.out(i));
  for (size_t i : {0, 1, 2}) given.push_back(v.grad(i));
  Tensors found = recurrentGrad.all(given, v.attrs);
  const bool gru = v.attrs.cell == Cell::Gru;
  Tensor sums = reshape(found[0], {.shape = {rows, found[0].size(2)}});
  Tensor fromX = gru ? part(sums, 0, 3 * H) : sums;
  // GRU: r and z, then the sum that r scales, which has no part in W_ih.
  Tensors fromH = gru ? Tensors{part(sums, 0, 2 * H), part(sums, 3 * H, H)} : Tensors{sums};
  auto joined = [&](auto&& of) {
    Tensors parts;
    for (const Tensor& t : fromH) parts.push_back(of(t));
    return parts.size() > 1 ? concat(parts, {.axis = 0}) : parts[0];
  };
  auto total = [](const Tensor& t) { return sum(t, {.axis = Ints{0}}); };
  Tensors out(kLayerInputs);
  if (v.need(X)) out[X] = reshape(matmul(fromX, v.in(WeightIh)), {.shape = v.in(X).shape().ints()});
  if (v.need(WeightIh)) out[WeightIh] = matmul(transposeLast(fromX), reshape(v.in(X), {.shape = {rows, s.inputs}}));
  if (v.need(WeightHh)) {
    Tensor previous = reshape(found[1], {.shape = {rows, H}});
    out[WeightHh] = joined([&](const Tensor& t) { return matmul(transposeLast(t), previous); });
  }
  if (v.need(BiasIh)) out[BiasIh] = total(fromX);
  if (v.need(BiasHh)) out[BiasHh] = gru || !out[BiasIh] ? joined(total) : out[BiasIh];
  if (v.need(H0)) out[H0] = found[2];
  if (v.need(C0)) out[C0] = found[3];
  return out;
}

double layerCost(const Recurrent& attrs, std::span<const View> in, std::span<const View>) {
  const Sizes s = sizesOf(in);
  return double(s.batch * s.steps) * double(cpu::weightRows(attrs.cell) * s.units) * double(s.inputs + s.units + 8);
}

void checkMatrix(const std::string& op, const char* name, const Tensor& t, const Shape& expected, const char* axes) {
  require(t.shape() == expected, Code::Shape, op, ": ", name, " must be ", axes, " = ", expected, "; got ", t.shape());
}

void check(const std::string& op, Cell cell, Inputs in) {
  const int64_t k = cpu::weightRows(cell);
  const Tensor &x = in[X], &weight = in[WeightHh];
  require(x.rank() == 3, Code::Shape, op, ": x must be [N, T, C]; got ", x.shape());
  require(weight.rank() == 2 && weight.size(0) == k * weight.size(1), Code::Shape, op, ": weightHh must be [",
          k > 1 ? text(k, " * ") : "", "H, H]; got ", weight.shape());
  const int64_t H = weight.size(1), N = x.size(0);
  checkMatrix(op, "weightIh", in[WeightIh], {k * H, x.size(2)}, k > 1 ? "[gates * H, C]" : "[H, C]");
  if (in[BiasIh]) checkMatrix(op, "biasIh", in[BiasIh], {k * H}, k > 1 ? "[gates * H]" : "[H]");
  if (in[BiasHh]) checkMatrix(op, "biasHh", in[BiasHh], {k * H}, k > 1 ? "[gates * H]" : "[H]");
  if (in[H0]) checkMatrix(op, "hidden", in[H0], {N, H}, "[N, H]");
  if (in[C0]) checkMatrix(op, "cell", in[C0], {N, H}, "[N, H]");
  for (const Tensor& t : in.first(Lengths)) {
    require(!t || (isFloat(t.dtype()) && t.dtype() == x.dtype()), Code::DType, op,
            ": x, weights, biases and states must have one floating-point dtype; got ", x.dtype(), " and ",
            t ? t.dtype() : x.dtype());
  }
  if (!in[Lengths]) return;
  checkMatrix(op, "lengths", in[Lengths], {N}, "[N]");
  require(in[Lengths].dtype() == DType::Int64, Code::DType, op, ": lengths must be int64; got ", in[Lengths].dtype());
}

/// A public op as the layer that serves all; 16-bit floats are computed in float32 and rounded once.
Tensors layerOf(const std::string& op, Tensors in, Recurrent attrs, size_t outputs) {
  check(op, attrs.cell, in);
  const DType dtype = in[X].dtype(), compute = computeType(dtype);
  for (Tensor& t : in)
    if (t && t.dtype() == dtype && compute != dtype) t = cast(t, {.dtype = compute});
  Tensors out = recurrentLayer.all(in, attrs);
  out.resize(outputs);
  for (Tensor& t : out)
    if (compute != dtype) t = cast(t, {.dtype = dtype});
  return out;
}

/// The inputs of an op without a cell's state.
Tensors withoutCell(Inputs in) {
  Tensors out(in.begin(), in.end());
  out.insert(out.begin() + C0, Tensor());
  return out;
}

const char* const kInputsDoc =
    "`x` is [N, T, C]; there are H units. `hidden` [N, H] is the state before the first step, zeros when absent. "
    "`lengths` "
    "[N] (int64) says how many steps each row has, T when absent: later steps leave the state and give zeros, as "
    "PyTorch's "
    "packed sequences do. With `reverse` it goes from the last step to the first. Gives `output` [N, T, H], the state "
    "after "
    "each step";

const std::vector<std::string> kLayer{"x",       "weightIh", "weightHh", "biasIh?",
                                      "biasHh?", "hidden?",  "cell?",    "lengths?"};
const std::vector<std::string> kWithoutCell{"x", "weightIh", "weightHh", "biasIh?", "biasHh?", "hidden?", "lengths?"};
const std::vector<std::string> kGrad{"x",       "weightIh", "weightHh",    "biasIh?",  "biasHh?",
                                     "hidden?", "cell?",    "lengths?",    "y",        "gates",
                                     "cells",   "gradY?",   "gradHidden?", "gradCell?"};

const std::vector<Field> kRecurrentFields{
    required<&Recurrent::cell>("kind", "the kind of cell", {"tanh", "relu", "lstm", "gru"}),
    field<&Recurrent::reverse>("reverse", "go from the last step to the first")};

}  // namespace

const Op<Recurrent> recurrentLayer({.name = "recurrentLayer",
                                    .doc = "A recurrent layer of any kind in one direction.",
                                    .inputs = kLayer,
                                    .attrs = kRecurrentFields,
                                    .outputs = {"output", "hidden", "cell", "gates", "cells"},
                                    .infer = inferLayer,
                                    .lower = lowerLayer,
                                    .vjp = layerVjp,
                                    .saves = {.outputs = {0, 3, 4}, .allInputs = true},
                                    .internal = true,
                                    .cost = layerCost});

const Op<Recurrent> recurrentGrad(
    {.name = "recurrentGrad",
     .doc = "The gradients of the sums inside the gates of a recurrent layer, and of its first states.",
     .inputs = kGrad,
     .attrs = kRecurrentFields,
     .outputs = {"gradGates", "previous", "gradHidden", "gradCell"},
     .infer = inferGrad,
     .lower = lowerGrad,
     .internal = true,
     .cost = layerCost});

const Op<Rnn> rnn(
    {.name = "rnn",
     .doc = text("A layer of simple recurrent units: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu (Elman, "
                 "1990). ",
                 kInputsDoc, ", and the last state [N, H]. `weightIh` [H, C], `weightHh` [H, H], biases [H]."),
     .inputs = kWithoutCell,
     .attrs = {field<&Rnn::nonlinearity>("nonlinearity", "the activation", {"tanh", "relu"}),
               field<&Rnn::reverse>("reverse", "go from the last step to the first")},
     .outputs = {"output", "hidden"},
     .lower =
         [](const Args<Rnn>& c) {
           Cell cell = c.attrs.nonlinearity == Nonlinearity::Tanh ? Cell::Tanh : Cell::Relu;
           return layerOf(c.op, withoutCell(c.in), {cell, c.attrs.reverse}, 2);
         },
     .method = false});

const Op<Direction> gru(
    {.name = "gru",
     .doc = text(
         "A layer of gated recurrent units (Cho et al., 2014) with the reset gate after the product: r, z = "
         "sigmoid(W_ih x + b_ih + W_hh h + b_hh), n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = (1 - z) n + z h. ",
         kInputsDoc,
         ", and the last state [N, H]. `weightIh` [3H, C], `weightHh` [3H, H] and biases [3H] hold r, z, n in this "
         "order."),
     .inputs = kWithoutCell,
     .attrs = {field<&Direction::reverse>("reverse", "go from the last step to the first")},
     .outputs = {"output", "hidden"},
     .lower =
         [](const Args<Direction>& c) {
           return layerOf(c.op, withoutCell(c.in), {Cell::Gru, c.attrs.reverse}, 2);
         },
     .method = false});

const Op<Direction> lstm(
    {.name = "lstm",
     .doc = text("A layer of long short-term memory (Hochreiter and Schmidhuber, 1997; Gers et al., 2000): i, f, o = "
                 "sigmoid(W_ih x + b_ih + W_hh h + b_hh), g = tanh(likewise), c' = f c + i g, h' = o tanh(c'). ",
                 kInputsDoc,
                 ", and the last states `hidden` and `cell` [N, H]. `weightIh` [4H, C], `weightHh` [4H, H] and biases "
                 "[4H] hold i, f, g, o in this order."),
     .inputs = kLayer,
     .attrs = {field<&Direction::reverse>("reverse", "go from the last step to the first")},
     .outputs = {"output", "hidden", "cell"},
     .lower =
         [](const Args<Direction>& c) {
           return layerOf(c.op, Tensors(c.in.begin(), c.in.end()), {Cell::Lstm, c.attrs.reverse}, 3);
         },
     .method = false});

const ComputeIn precision(Precision::Low, {"rnn", "lstm", "gru"});

}  // namespace anneal::ops
