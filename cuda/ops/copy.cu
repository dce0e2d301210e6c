// Copies between layouts and conversions between dtypes: contiguous, cast, stridedGrad.
#include "copy.h"

#include "cpu/copy.h"
#include "device.h"
#include "index.h"
#include "ops/arithmetic.h"
#include "ops/slices.h"
#include "ops/views.h"
#include "value.h"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 32, kRows = 8;  // of a transposition
/// The rows of a tile: twice as many of small elements, so that as many bytes are under way.
template <class T>
constexpr int kTileRows = sizeof(T) < 4 ? 2 * kTile : kTile;

/// Elements of type To from ones of any dtype, of any strides.
template <class To>
__global__ void __launch_bounds__(kThreads)
    convertAny(const void* from, DType dtype, Walk<2> walk, void* to, uint32_t n) {
  const auto i = uint32_t(threadNumber());
  if (i >= n) return;
  int32_t at[2];
  walk.place(i, at);
  static_cast<To*>(to)[at[1]] = loadAs<To>(from, dtype, at[0]);
}

/// Runs of elements, 16 bytes of the wider type at a time.
template <class From, class To, int N>
__global__ void __launch_bounds__(kThreads) convertRuns(const From* from, To* to, int64_t n) {
  const int64_t begin = threadNumber() * N;
  if (begin + N <= n) {
    const auto pack = *reinterpret_cast<const Pack<From, N>*>(from + begin);
    Pack<To, N> out;
#pragma unroll
    for (int i = 0; i < N; ++i) out.v[i] = cpu::convertTo<To>(pack.v[i]);
    *reinterpret_cast<Pack<To, N>*>(to + begin) = out;
    return;
  }
  for (int64_t i = begin; i < n; ++i) to[i] = cpu::convertTo<To>(from[i]);
}

/// Elements moved as they are, of any strides.
template <class T>
__global__ void __launch_bounds__(kThreads) copyAny(const T* from, Walk<2> walk, T* to, uint32_t n) {
  const auto i = uint32_t(threadNumber());
  if (i >= n) return;
  int32_t at[2];
  walk.place(i, at);
  to[at[1]] = from[at[0]];
}

/// A batch of transpositions: to[b][i][j] = from[b][j][i], where both sides step by one along their last axis. A tile
/// goes through shared memory, so that both are read and written in whole lines.
template <class T>
__global__ void __launch_bounds__(kTile* kRows)
    transposeTiles(const T* from, T* to, int64_t rows, int64_t columns, int64_t fromRow, int64_t toRow, Walk<2> batch) {
  constexpr int kDeep = kTileRows<T>;
  __shared__ T tile[kDeep][kTile + 1];
  int32_t base[2];
  batch.place(blockIdx.z, base);
  // `from` has `columns` rows of `rows` elements.
  const int64_t i0 = int64_t(blockIdx.x) * kTile, j0 = int64_t(blockIdx.y) * kDeep;
  const int x = int(threadIdx.x), y = int(threadIdx.y);
#pragma unroll
  for (int k = 0; k < kDeep / kRows; ++k) {
    const int r = y + k * kRows;
    if (j0 + r < columns && i0 + x < rows) tile[r][x] = from[base[0] + (j0 + r) * fromRow + i0 + x];
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kDeep / kRows; ++k) {
    const int r = y + k % (kTile / kRows) * kRows, column = x + k / (kTile / kRows) * kTile;
    if (i0 + r < rows && j0 + column < columns) to[base[1] + (i0 + r) * toRow + j0 + column] = tile[column][r];
  }
}

template <class To>
void convertStrided(const View& in, const View& out) {
  split(Nest({&in, 1}, out), {}, [&](const Nest& nest, const auto& offsets) {
    const std::byte* from = in.memory + offsets[0] * int64_t(itemSize(in.dtype));
    std::byte* to = out.memory + offsets[1] * int64_t(sizeof(To));
    const int64_t n = nest.shape.product();
    launch(convertAny<To>, blocksFor(n, kThreads), kThreads, 0, stream(), from, in.dtype, Walk<2>(nest), to,
           uint32_t(n));
  });
}

template <class From, class To>
void convertPacked(const View& in, const View& out) {
  constexpr int N = 16 / std::max(sizeof(From), sizeof(To));
  const int64_t n = out.size();
  launch(convertRuns<From, To, N>, blocksFor(n, int64_t(kThreads) * N), kThreads, 0, stream(), in.as<From>(),
         out.as<To>(), n);
}

/// Whether both are runs of elements that 16-byte accesses may move.
bool packed(const View& in, const View& out) {
  return in.memory && in.shape == out.shape && in.contiguous() && out.contiguous() && aligned(in.memory) &&
         aligned(out.memory);
}

/// The conversions that training in 16 bits does all the time.
bool convertCommon(const View& in, const View& out) {
  if (!packed(in, out)) return false;
  if (in.dtype == DType::Float32 && out.dtype == DType::BFloat16) convertPacked<float, BFloat16>(in, out);
  else if (in.dtype == DType::BFloat16 && out.dtype == DType::Float32) convertPacked<BFloat16, float>(in, out);
  else if (in.dtype == DType::Float32 && out.dtype == DType::Float16) convertPacked<float, Half>(in, out);
  else if (in.dtype == DType::Float16 && out.dtype == DType::Float32) convertPacked<Half, float>(in, out);
  else return false;
  return true;
}

/// The two axes of a nest that are to change places, or false.
struct Transposition {
  int row = -1, column = -1;  // column: steps by one in the target; row: steps by one in the source
  explicit Transposition(const Nest& nest) {
    const int rank = nest.shape.rank();
    for (int i = 0; i < rank; ++i) {
      if (nest.strides[1][i] == 1 && nest.shape[i] > 1) column = i;
      if (nest.strides[0][i] == 1 && nest.shape[i] > 1) row = i;
    }
  }
  bool worthwhile(const Nest& nest) const {
    return row >= 0 && column >= 0 && row != column && nest.shape[row] >= 16 && nest.shape[column] >= 16;
  }
};

template <class T>
void transpose(Nest nest, Transposition t, const T* from, T* to) {
  const int64_t rows = nest.shape[t.row], columns = nest.shape[t.column];
  const int64_t fromRow = nest.strides[0][t.column], toRow = nest.strides[1][t.row];
  Nest batch = nest;
  for (int axis : {std::max(t.row, t.column), std::min(t.row, t.column)}) {
    batch.shape.erase(axis);
    for (int k = 0; k < 2; ++k) batch.strides[size_t(k)].erase(axis);
  }
  launch(transposeTiles<T>,
         dim3(blocksFor(rows, kTile), blocksFor(columns, kTileRows<T>), unsigned(batch.shape.product())),
         dim3(kTile, kRows), 0, stream(), from, to, rows, columns, fromRow, toRow, Walk<2>(batch));
}

/// Whether the grid of a transposition is one that a launch takes.
bool fitsGrid(const Nest& nest, const Transposition& t) {
  const int64_t batch = nest.shape.product() / nest.shape[t.row] / nest.shape[t.column];
  return batch <= 65535 && nest.shape[t.column] <= int64_t(65535) * kTile;
}

struct Wide {
  uint4 v;
};

/// The nest in elements of 16 bytes instead of `item`, where whole runs of them lie along the last axis of both sides.
std::optional<Nest> widened(const Nest& nest, int64_t item, const void* from, const void* to) {
  const int64_t each = int64_t(sizeof(Wide)) / item;
  const int last = nest.shape.rank() - 1;
  if (!aligned(from) || !aligned(to) || nest.shape[last] % each != 0) return std::nullopt;
  Nest wide = nest;
  wide.shape[last] /= each;
  for (size_t k = 0; k < 2; ++k) {
    if (nest.strides[k][last] != 1) return std::nullopt;
    for (int i = 0; i < last; ++i) {
      if (nest.strides[k][i] % each != 0) return std::nullopt;
      wide.strides[k][i] /= each;
    }
  }
  return wide;
}

template <class T>
void copyNest(const Nest& nest, const T* from, T* to) {
  const int64_t n = nest.shape.product();
  launch(copyAny<T>, blocksFor(n, kThreads), kThreads, 0, stream(), from, Walk<2>(nest), to, uint32_t(n));
}

template <class T>
void copyStrided(const View& in, const View& out) {
  split(Nest({&in, 1}, out), {}, [&](const Nest& nest, const auto& offsets) {
    const T* from = reinterpret_cast<const T*>(in.memory) + offsets[0];
    T* to = reinterpret_cast<T*>(out.memory) + offsets[1];
    if (const Transposition t(nest); t.worthwhile(nest) && fitsGrid(nest, t)) return transpose<T>(nest, t, from, to);
    if (const auto wide = widened(nest, sizeof(T), from, to))
      return copyNest(*wide, reinterpret_cast<const Wide*>(from), reinterpret_cast<Wide*>(to));
    copyNest(nest, from, to);
  });
}

}  // namespace

void copy(const View& in, const View& out) {
  if (out.size() == 0) return;
  if (!in.memory && out.contiguous()) return fillWith(in, out);
  if (!in.memory) return copy(Prepared(in, out.dtype).view(), out);
  if (in.dtype != out.dtype) {
    if (!convertCommon(in, out)) visitType(out.dtype, [&]<class To>(TypeTag<To>) { convertStrided<To>(in, out); });
    return;
  }
  if (in.shape == out.shape && in.contiguous() && out.contiguous())
    return check(cudaMemcpyAsync(out.memory, in.memory, size_t(out.size()) * itemSize(out.dtype),
                                 cudaMemcpyDeviceToDevice, stream()),
                 "copy");
  cpu::visitWidth(out.dtype, [&]<class T>(TypeTag<T>) { copyStrided<T>(in, out); });
}

Prepared::Prepared(const View& v, const Shape& shape, DType dtype) : view_(v) {
  if (v.memory && v.dtype == dtype && v.shape == shape && v.contiguous()) return;
  memory_ = std::make_shared<Scratch>(std::max<size_t>(size_t(shape.product()) * itemSize(dtype), 1));
  view_ = View{.memory = memory_->as<std::byte>(), .shape = shape, .strides = contiguousStrides(shape), .dtype = dtype};
  copy(v, view_);
}
Prepared::Prepared(const View& v, DType dtype) : Prepared(v, v.shape, dtype) {}

namespace {

void contiguousCuda(const Call<None>& call) { copy(call.in[0], call.out[0]); }
void castCuda(const Call<ops::Cast>& call) { copy(call.in[0], call.out[0]); }
/// Zeros, and over them the gradient of what was seen at those places, each of them once.
void stridedGradCuda(const Call<ops::Strided>& call) {
  const View& grad = call.in[0];
  fill(call.out[0], 0);
  copy(grad, cpu::part(call.out[0], grad.shape, Strides(call.attrs.strides), call.attrs.offset));
}
const Implement<ops::Strided> stridedGradOnCuda("stridedGrad", DeviceType::Cuda, stridedGradCuda);
const Implement<None> contiguousOnCuda("contiguous", DeviceType::Cuda, contiguousCuda);
const Implement<ops::Cast> castOnCuda("cast", DeviceType::Cuda, castCuda);

}  // namespace
}  // namespace anneal::cuda
