// Rotary position embedding.
#include "ops/rotary.h"

#include "copy.h"
#include "device.h"
#include "index.h"
#include "rows.cuh"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;

struct Angles {
  const int64_t* positions;   // null: 0, 1, 2 ...
  const double* frequencies;  // null: powers of the base
  int64_t offset;
  double base;
  bool inverse;
};

/// For each position a row of `pairs` cosines and one of sines, from angles in double precision.
template <class C>
__global__ void __launch_bounds__(kThreads) makeTable(Angles a, int pairs, C* table, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  const int64_t row = i / pairs;
  const int pair = int(i - row * pairs);
  const double frequency = a.frequencies ? a.frequencies[pair] : pow(a.base, -double(pair) / double(pairs));
  const double position = double((a.positions ? a.positions[row] : row) + a.offset);
  const double angle = (a.inverse ? -position : position) * frequency;
  table[row * 2 * pairs + pair] = C(cos(angle));
  table[row * 2 * pairs + pairs + pair] = C(sin(angle));
}

/// Turns pair j of a row: elements j and j + pairs, or 2j and 2j + 1. `rows` leads to a row of x and to its position.
template <class T, class C>
__global__ void __launch_bounds__(kThreads) turn(const T* x, Walk<2, int64_t> rows, int64_t stride, const C* table,
                                                 int pairs, bool interleaved, T* y, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  const int64_t row = i / pairs;
  const int pair = int(i - row * pairs);
  int64_t at[2];
  rows.place(uint32_t(row), at);
  const int first = interleaved ? 2 * pair : pair, second = interleaved ? first + 1 : first + pairs;
  const C a = cpu::convertTo<C>(x[at[0] + first * stride]), b = cpu::convertTo<C>(x[at[0] + second * stride]);
  const C cosine = table[at[1] * 2 * pairs + pair], sine = table[at[1] * 2 * pairs + pairs + pair];
  T* to = y + row * 2 * pairs;
  to[first] = cpu::convertTo<T>(a * cosine - b * sine);
  to[second] = cpu::convertTo<T>(a * sine + b * cosine);
}

/// From the number of a row of x to where it lies, and to the number of its position.
Walk<2, int64_t> rowsOf(const View& x, const Shape& positions) {
  const Shape rows = x.shape.slice(0, x.shape.rank() - 1);
  const Strides numbers = broadcastStrides(positions, contiguousStrides(positions), rows);
  Walk<2, int64_t> walk;
  walk.rank = rows.rank();
  for (int i = 0; i < walk.rank; ++i) {
    const int axis = walk.rank - 1 - i;
    walk.size[i] = Divider(uint32_t(rows[axis]));
    walk.stride[i][0] = x.strides[axis];
    walk.stride[i][1] = numbers[axis];
  }
  return walk;
}

std::optional<Prepared> given(const Call<ops::Rotary>& call, size_t i, DType dtype) {
  if (i >= call.in.size() || !call.in[i].defined) return std::nullopt;
  return std::optional<Prepared>(std::in_place, call.in[i], dtype);
}

void rotaryCuda(const Call<ops::Rotary>& call) {
  const View &x = call.in[0], &y = call.out[0];
  if (x.size() == 0) return;
  const int pairs = int(x.shape.back() / 2);
  const int64_t rows = x.size() / x.shape.back();
  require(rows < (int64_t(1) << 31), Code::Shape, "rotaryEmbedding: on a GPU there may be at most 2^31 - 1 rows; got ",
          rows);
  const auto positions = given(call, 1, DType::Int64), frequencies = given(call, 2, DType::Float64);
  const Shape shape = positions ? positions->view().shape : Shape{x.shape[x.shape.rank() - 2]};
  const Angles angles{positions ? positions->view().as<int64_t>() : nullptr,
                      frequencies ? frequencies->view().as<double>() : nullptr, call.attrs.offset, call.attrs.base,
                      call.attrs.inverse};
  const int64_t count = shape.product() * pairs;
  visitFloat(y.dtype, [&]<class T>(TypeTag<T>) {
    using C = std::conditional_t<std::is_same_v<T, double>, double, float>;
    const Scratch table(size_t(2 * count) * sizeof(C));
    launch(makeTable<C>, blocksFor(count, kThreads), kThreads, 0, stream(), angles, pairs, table.as<C>(), count);
    launch(turn<T, C>, blocksFor(rows * pairs, kThreads), kThreads, 0, stream(), x.as<T>(), rowsOf(x, shape),
           x.strides.back(), table.as<C>(), pairs, call.attrs.interleaved, y.as<T>(), rows * pairs);
  });
}

const Implement<ops::Rotary> rotaryOnCuda("rotaryEmbedding", DeviceType::Cuda, rotaryCuda);

}  // namespace
}  // namespace anneal::cuda
