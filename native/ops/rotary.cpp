#include "ops/rotary.h"

#include <cmath>

#include "cpu/convert.h"
#include "cpu/parallel.h"
#include "cpu/workspace.h"

namespace anneal::ops {
namespace {

Specs inferRotary(const Args<Rotary>& c) {
  const Spec& x = c.in[0].spec();
  require(isFloat(x.dtype), Code::DType, c.op, ": takes floats; got ", x.dtype);
  require(x.shape.rank() >= 2 && x.shape.back() % 2 == 0, Code::Shape, c.op,
          ": takes [..., time, depth] with an even depth; got ", x.shape);
  require(c.attrs.base > 0, Code::Value, c.op, ": the base is positive; got ", c.attrs.base);
  if (c.in.size() > 1 && c.in[1]) {
    const Spec& positions = c.in[1].spec();
    Shape rows = x.shape.slice(0, x.shape.rank() - 1);
    require(isInteger(positions.dtype), Code::DType, c.op, ": positions are integers; got ", positions.dtype);
    require(positions.shape.rank() <= rows.rank() && broadcast(c.op, positions.shape, rows) == rows, Code::Shape, c.op,
            ": positions ", positions.shape, " do not broadcast to [..., time], ", rows);
  }
  if (c.in.size() > 2 && c.in[2]) {
    require(isFloat(c.in[2].dtype()), Code::DType, c.op, ": frequencies are floats; got ", c.in[2].dtype());
    require(c.in[2].shape() == Shape{x.shape.back() / 2}, Code::Shape, c.op,
            ": there is one frequency for each pair, [", x.shape.back() / 2, "]; got ", c.in[2].shape());
  }
  return {x};
}

/// Element i, in row-major order, of a view of any strides.
template <class T>
T elementOf(const View& v, int64_t i) {
  int64_t at = 0;
  for (int axis = v.shape.rank() - 1; axis >= 0; --axis) at += i % v.shape[axis] * v.strides[axis], i /= v.shape[axis];
  return visitType(v.dtype, [&]<class S>(TypeTag<S>) { return cpu::convertTo<T>(v.as<S>()[at]); });
}

/// Cosines and sines: for each position a row of `pairs` of them, one after the other.
template <class T>
struct Table {
  const T* values;
  Strides rowStrides;  // of the positions, seen as the rows of x
  int64_t pairs;
  const T* cosines(int64_t row) const { return values + row * 2 * pairs; }
};

std::vector<double> frequencies(const Call<Rotary>& call, int64_t pairs) {
  std::vector<double> out(static_cast<size_t>(pairs));
  for (int64_t i = 0; i < pairs; ++i) {
    if (call.in.size() > 2 && call.in[2].defined) out[size_t(i)] = elementOf<double>(call.in[2], i);
    else out[size_t(i)] = std::pow(call.attrs.base, -double(i) / double(pairs));
  }
  return out;
}

template <class T>
Table<T> makeTable(const Call<Rotary>& call) {
  const View& x = call.in[0];
  Shape rows = x.shape.slice(0, x.shape.rank() - 1), shape{rows.back()};
  const bool given = call.in.size() > 1 && call.in[1].defined;
  if (given) shape = call.in[1].shape;
  int64_t pairs = x.shape.back() / 2, count = shape.product();
  T* values = cpu::workspace<T>(cpu::Purpose::Scores, size_t(count * pairs * 2));
  std::vector<double> frequency = frequencies(call, pairs);
  auto positionOf = [&](int64_t i) -> double {
    return double((given ? elementOf<int64_t>(call.in[1], i) : i) + call.attrs.offset);
  };
  cpu::parallelFor(count, std::max<int64_t>(1, 512 / pairs), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double position = positionOf(i) * (call.attrs.inverse ? -1 : 1);
      T* at = values + i * 2 * pairs;
      for (int64_t j = 0; j < pairs; ++j) {
        at[j] = T(std::cos(position * frequency[size_t(j)]));
        at[pairs + j] = T(std::sin(position * frequency[size_t(j)]));
      }
    }
  });
  return {values, broadcastStrides(shape, contiguousStrides(shape), rows), pairs};
}

/// One row: pair j is elements j and j + pairs, or 2j and 2j + 1.
template <class T, class S>
void rotate(const S* x, int64_t stride, S* y, const T* cosines, int64_t pairs, bool interleaved) {
  const T* sines = cosines + pairs;
  int64_t step = interleaved ? 2 : 1, other = interleaved ? 1 : pairs;
  auto pair = [&](int64_t j, int64_t from) {
    T a = cpu::convertTo<T>(x[j * step * from]), b = cpu::convertTo<T>(x[(j * step + other) * from]);
    y[j * step] = cpu::convertTo<S>(a * cosines[j] - b * sines[j]);
    y[j * step + other] = cpu::convertTo<S>(a * sines[j] + b * cosines[j]);
  };
  if (stride == 1)
    for (int64_t j = 0; j < pairs; ++j) pair(j, 1);
  else
    for (int64_t j = 0; j < pairs; ++j) pair(j, stride);
}

void rotaryCpu(const Call<Rotary>& call) {
  const View &x = call.in[0], &y = call.out[0];
  if (x.size() == 0) return;
  visitType(x.dtype, [&]<class S>(TypeTag<S>) {
    using T = std::conditional_t<std::is_same_v<S, double>, double, float>;
    Table<T> table = makeTable<T>(call);
    int last = x.shape.rank() - 1;
    int64_t rows = y.size() / x.shape.back();
    cpu::parallelFor(rows, std::max<int64_t>(1, 8192 / x.shape.back()), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        int64_t from = 0, position = 0, rest = r;
        for (int axis = last - 1; axis >= 0; --axis) {
          int64_t i = rest % x.shape[axis];
          rest /= x.shape[axis];
          from += i * x.strides[axis];
          position += i * table.rowStrides[axis];
        }
        rotate<T, S>(x.as<S>() + from, x.strides[last], y.as<S>() + r * x.shape.back(), table.cosines(position),
                     table.pairs, call.attrs.interleaved);
      }
    });
  });
}

const Implement<Rotary> rotaryOnCpu("rotaryEmbedding", DeviceType::Cpu, rotaryCpu);

}  // namespace

const Op<Rotary> rotaryEmbedding(
    {.name = "rotaryEmbedding",
     .doc = "Rotary position embedding (Su et al., 2021) of `x` [..., time, depth]: the pair j of each row turns by "
            "the angle position "
            "base^(-2j/depth). Pairs are the elements j and j + depth/2, as in Llama, or neighbours with "
            "`interleaved`. `positions` "
            "(integers, broadcasting to [..., time]) are 0, 1, 2 ... when absent; `frequencies` [depth/2] replace the "
            "powers of the base.",
     .inputs = {"x", "positions?", "frequencies?"},
     .attrs = {field<&Rotary::base>("base", "the base of the frequencies"),
               field<&Rotary::interleaved>("interleaved", "pairs are neighbours instead of halves"),
               field<&Rotary::offset>("offset", "added to every position"),
               field<&Rotary::inverse>("inverse", "turn the other way")},
     .infer = inferRotary,
     .vjp =
         [](const Vjp<Rotary>& v) {
           Rotary back = v.attrs;
           back.inverse = !back.inverse;
           return Tensors{rotaryEmbedding.all(Tensors{v.grad(), v.in(1), v.in(2)}, back).front(), Tensor(), Tensor()};
         },
     .saves = {.inputs = {1, 2}},
     .anyStrides = true,
     .cost = [](const Rotary&, std::span<const View> in, std::span<const View>) { return double(in[0].size()) * 4; }});

}  // namespace anneal::ops
