#pragma once
// What sort and topK share: elements as keys, and where the elements go.
#include "copy.h"
#include "cpu/order.h"
#include "sort.cuh"

namespace anneal::cuda {

/// The elements of contiguous rows as keys, flipped for a descending order. K has 64 bits for those of 8 bytes.
template <class K>
struct Ordered {
  using Key = K;
  const void* memory;
  DType dtype;
  K flip;
  int64_t n;

  Ordered(const View& x, int64_t n, bool descending) : memory(x.memory), dtype(x.dtype), flip(0), n(n) {
    if (descending) flip = K(~K(0)) >> (8 * (sizeof(K) - itemSize(dtype)));
  }
  int bits() const { return int(8 * itemSize(dtype)); }
  template <class T>
  __device__ K orderAt(int64_t i) const {
    return cpu::orderOf(static_cast<const T*>(memory)[i]);
  }
  __device__ K at(int64_t i) const {
    if constexpr (sizeof(K) == 8) {
      return (dtype == DType::Float64 ? orderAt<double>(i) : orderAt<int64_t>(i)) ^ flip;
    } else {
      switch (dtype) {
        case DType::Float32: return orderAt<float>(i) ^ flip;
        case DType::Float16: return orderAt<Half>(i) ^ flip;
        case DType::BFloat16: return orderAt<BFloat16>(i) ^ flip;
        case DType::Int32: return orderAt<int32_t>(i) ^ flip;
        case DType::Int8: return orderAt<int8_t>(i) ^ flip;
        case DType::UInt8: return orderAt<uint8_t>(i) ^ flip;
        default: return orderAt<bool>(i) ^ flip;
      }
    }
  }
  __device__ void load(int64_t row, int64_t i, K& key, uint32_t& place) const {
    key = at(row * n + i);
    place = uint32_t(i);
  }
};

/// The first `keep` elements of each row of n, and where they were.
struct Picked {
  const void* x;
  int size;  // of an element
  void* values;
  int64_t* indices;
  int64_t n, keep;

  template <class T>
  __device__ void move(int64_t from, int64_t to) const {
    static_cast<T*>(values)[to] = static_cast<const T*>(x)[from];
  }
  template <class K>
  __device__ void store(int64_t row, int64_t rank, K, uint32_t place) const {
    if (rank >= keep) return;
    const int64_t from = row * n + place, to = row * keep + rank;
    indices[to] = place;
    switch (size) {
      case 1: return move<uint8_t>(from, to);
      case 2: return move<uint16_t>(from, to);
      case 4: return move<uint32_t>(from, to);
      default: move<uint64_t>(from, to);
    }
  }
};

/// Calls `f` with the elements as keys of the type that fits them.
template <class F>
void visitOrder(const View& x, int64_t n, bool descending, F&& f) {
  if (itemSize(x.dtype) == 8) f(Ordered<uint64_t>(x, n, descending));
  else f(Ordered<uint32_t>(x, n, descending));
}

/// Calls `run(x, values, indices)` with contiguous rows along the last axis for those along `axis` of an op's tensors:
/// the tensors themselves, or copies of them.
template <class F>
void alongRows(const View& given, int axis, const View& values, const View& indices, F&& run) {
  const View& x = given;
  const int rank = x.shape.rank();
  int64_t inner = 1;
  for (int i = axis + 1; i < rank; ++i) inner *= x.shape[i];
  if (inner == 1) return run(x, values, indices);
  const auto turned = [&](View v) {
    const int64_t n = v.shape[axis], outer = v.shape.product() / n / inner;
    v.shape = {outer, inner, n};
    v.strides = {n * inner, 1, inner};
    return v;
  };
  const View from = turned(x), toValues = turned(values), toIndices = turned(indices);
  const Prepared rows(from, x.dtype);
  const auto room = [](const Scratch& memory, const View& like) {
    return View{.memory = memory.as<std::byte>(),
                .shape = like.shape,
                .strides = contiguousStrides(like.shape),
                .dtype = like.dtype};
  };
  const Scratch v(size_t(values.size()) * itemSize(values.dtype)), i(size_t(indices.size()) * sizeof(int64_t));
  const View ownValues = room(v, toValues), ownIndices = room(i, toIndices);
  run(rows.view(), ownValues, ownIndices);
  copy(ownValues, toValues);
  copy(ownIndices, toIndices);
}

/// Sorts the contiguous rows of x and keeps the first of each, as many as `values` has.
void sortPicked(const View& x, bool descending, const View& values, const View& indices);

}  // namespace anneal::cuda
