// Recurrent layers and their gradients as compositions of other ops: what higher derivatives go through.
#include "ops/activation.h"
#include "ops/creation.h"
#include "ops/indexing.h"
#include "ops/join.h"
#include "ops/linear.h"
#include "ops/logic.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/operators.h"
#include "ops/recurrent.h"
#include "ops/scan.h"
#include "ops/slices.h"
#include "ops/views.h"

namespace anneal::ops::recurrent {
namespace {

using cpu::Cell;

/// One step of all rows: states [N, H] before and after it, and the activations (GRU: last, the sum that r scales).
struct Step {
  Tensor before, cellBefore, after, cell, live;  // live [N, 1]: whether the row has this step; undefined where all have
  Tensors gates;
};

Tensor columns(const Tensor& x, int64_t slot, int64_t units) {
  return narrow(x, {.axis = 1, .start = slot * units, .size = units});
}
/// x[:, t] of [N, T, ...].
Tensor at(const Tensor& x, int64_t t) {
  return reshape(narrow(x, {.axis = 1, .start = t, .size = 1}), {.shape = {x.size(0), x.size(2)}});
}
Tensor zerosOf(const Tensor& like, const Shape& shape) { return full(shape, 0, like.dtype()); }
Tensor stateOr(const Tensor& state, const Tensor& x, const Shape& shape) { return state ? state : zerosOf(x, shape); }
Tensor choose(const Tensor& live, const Tensor& a, const Tensor& b) { return live ? where(live, a, b) : a; }

void activate(Cell kind, Step& s, const Tensor& fromX, const Tensor& fromH, int64_t units) {
  auto part = [&](const Tensor& x, int64_t slot) { return columns(x, slot, units); };
  if (kind == Cell::Lstm) {
    Tensor sums = fromX + fromH;
    s.gates = {sigmoid(part(sums, 0)), sigmoid(part(sums, 1)), tanh(part(sums, 2)), sigmoid(part(sums, 3))};
    s.cell = s.gates[1] * s.cellBefore + s.gates[0] * s.gates[2];
    s.after = s.gates[3] * tanh(s.cell);
  } else if (kind == Cell::Gru) {
    Tensor r = sigmoid(part(fromX, 0) + part(fromH, 0)), z = sigmoid(part(fromX, 1) + part(fromH, 1));
    Tensor scaled = part(fromH, 2), n = tanh(part(fromX, 2) + r * scaled);
    s.gates = {r, z, n, scaled};
    s.after = (1 - z) * n + z * s.before;
  } else {
    s.after = kind == Cell::Tanh ? tanh(fromX + fromH) : relu(fromX + fromH);
  }
}

/// Steps by their place in time, and the final states.
struct Steps {
  std::vector<Step> at;
  Tensor h, c;
  std::vector<int64_t> order;  // in which they are done
};

/// The same lengths, which reject where one is below 0 or beyond the steps: looked up in a list of those that may be.
Tensor checkedLengths(const Tensor& lengths, int64_t steps) {
  const Tensor possible = cumsum(full({steps + 1}, 1, DType::Int64), {.axis = 0}) - 1;
  return indexSelect(possible, lengths, {.axis = 0});
}

Steps goThrough(const Recurrent& attrs, Inputs in) {
  const Tensor& x = in[X];
  const int64_t steps = x.size(1), units = in[WeightHh].size(1);
  const Shape shape{x.size(0), units};
  Steps out{.at = std::vector<Step>(size_t(steps)), .h = stateOr(in[H0], x, shape)};
  if (attrs.cell == Cell::Lstm) out.c = stateOr(in[C0], x, shape);
  const Tensor lengths =
      in[Lengths] ? reshape(checkedLengths(in[Lengths], steps), {.shape = {x.size(0), 1}}) : Tensor();
  Tensor projected = linear(x, in[WeightIh], in[BiasIh]);
  for (int64_t i = 0; i < steps; ++i) {
    int64_t t = attrs.reverse ? steps - 1 - i : i;
    out.order.push_back(t);
    Step& s = out.at[size_t(t)];
    if (lengths) s.live = lengths > double(t);
    s.before = out.h;
    s.cellBefore = out.c;
    activate(attrs.cell, s, at(projected, t), linear(s.before, in[WeightHh], in[BiasHh]), units);
    out.h = choose(s.live, s.after, s.before);
    if (out.c) out.c = choose(s.live, s.cell, s.cellBefore);
  }
  return out;
}

Tensor stacked(const Tensors& steps, const Tensor& like, int64_t width) {
  return steps.empty() ? zerosOf(like, {like.size(0), 0, width}) : stack(steps, {.axis = 1});
}

/// The gradients of the gates' sums from that of the state after the step, of which it leaves the part that does not go
/// through the weights in `dh`; likewise `dc`.
Tensors retreat(Cell kind, const Step& s, Tensor& dh, Tensor& dc) {
  if (kind == Cell::Lstm) {
    const Tensor &i = s.gates[0], &f = s.gates[1], &g = s.gates[2], &o = s.gates[3], t = tanh(s.cell);
    Tensor d = dc + dh * o * (1 - t * t), out = dh * t * o * (1 - o);
    dc = d * f;
    dh = dh * 0;
    return {d * g * i * (1 - i), d * s.cellBefore * f * (1 - f), d * i * (1 - g * g), out};
  }
  if (kind == Cell::Gru) {
    const Tensor &r = s.gates[0], &z = s.gates[1], &n = s.gates[2];
    Tensor dn = dh * (1 - z) * (1 - n * n), dz = dh * (s.before - n) * z * (1 - z);
    dh = dh * z;
    return {dn * s.gates[3] * r * (1 - r), dz, dn, dn * r};
  }
  Tensor d = kind == Cell::Tanh ? dh * (1 - s.after * s.after) : dh * (s.after > 0);
  dh = dh * 0;
  return {d};
}

}  // namespace

Tensors lowerLayer(const Args<Recurrent>& c) {
  Steps steps = goThrough(c.attrs, c.in);
  const Tensor& x = c.in[X];
  const int64_t units = c.in[WeightHh].size(1);
  Tensors y, gates, cells;
  for (const Step& s : steps.at) {
    y.push_back(choose(s.live, s.after, zerosOf(x, s.after.shape())));
    if (!s.gates.empty()) gates.push_back(concat(s.gates, {.axis = 1}));
    if (s.cell) cells.push_back(s.cell);
  }
  const Tensor none = zerosOf(x, {0});
  const bool gated = cpu::gateSlots(c.attrs.cell) > 1, lstm = c.attrs.cell == Cell::Lstm;
  return {stacked(y, x, units), steps.h, lstm ? steps.c : none, gated ? stacked(gates, x, 4 * units) : none,
          lstm ? stacked(cells, x, units) : none};
}

Tensors lowerGrad(const Args<Recurrent>& c) {
  const Tensor& x = c.in[X];
  const int64_t units = c.in[WeightHh].size(1);
  const Cell kind = c.attrs.cell;
  Steps steps = goThrough(c.attrs, c.in);
  const Tensor zeros = zerosOf(x, {x.size(0), units});
  Tensor dh = c.in[GradH] ? c.in[GradH] : zeros, dc = c.in[GradC] ? c.in[GradC] : zeros;
  Tensors gates(steps.at.size()), previous(steps.at.size());
  for (size_t i = steps.order.size(); i-- > 0;) {
    const int64_t t = steps.order[i];
    const Step& s = steps.at[size_t(t)];
    Tensor inside = c.in[GradY] ? dh + at(c.in[GradY], t) : dh;
    // Rows without this step pass their gradients on as they are.
    Tensor kept = s.live ? where(s.live, zeros, dh) : Tensor(), keptC = dc;
    inside = choose(s.live, inside, zeros);
    Tensor insideC = choose(s.live, dc, zeros);
    Tensors d = retreat(kind, s, inside, insideC);
    Tensors recurrent = kind == Cell::Gru ? Tensors{d[0], d[1], d[3]} : d;
    dh = inside + matmul(concat(recurrent, {.axis = 1}), c.in[WeightHh]);
    if (kept) dh = dh + kept;
    if (kind == Cell::Lstm) dc = choose(s.live, insideC, keptC);
    gates[size_t(t)] = concat(d, {.axis = 1});
    previous[size_t(t)] = choose(s.live, s.before, zeros);
  }
  return {stacked(gates, x, cpu::gateSlots(kind) * units), stacked(previous, x, units), dh,
          kind == Cell::Lstm ? dc : zerosOf(x, {0})};
}

}  // namespace anneal::ops::recurrent
