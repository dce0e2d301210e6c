#pragma once
#include <cstddef>
#include <vector>

#include "runtime/task.h"

namespace anneal::cpu {

/// `to` = `from`, broadcast to its shape; the dtypes are equal, the strides any. Transpositions go tile by tile.
void copy(const View& from, const View& to);
/// Like copy, converting between dtypes where they differ.
void assign(const View& from, const View& to);
/// Every element of `to` becomes `value`.
void fill(const View& to, double value);

/// Other shape and strides over the memory of `v`, from element `offset` on.
View part(const View& v, const Shape& shape, const Strides& strides, int64_t offset);
/// The elements of `v` from `start` on, `size` of them, along `axis`.
View narrow(const View& v, int axis, int64_t start, int64_t size);

/// `v` as a contiguous view of `shape` and `dtype`: itself where it is one already, else a copy kept in here.
class Prepared {
 public:
  Prepared(const View& v, const Shape& shape, DType dtype);
  const View& view() const { return view_; }

 private:
  std::vector<std::byte> memory_;
  View view_;
};

/// Calls `f(TypeTag<T>{})` with the unsigned integer as wide as an element of `dtype`: for kernels that only move
/// values.
template <class F>
decltype(auto) visitWidth(DType dtype, F&& f) {
  switch (itemSize(dtype)) {
    case 1: return f(TypeTag<uint8_t>{});
    case 2: return f(TypeTag<uint16_t>{});
    case 4: return f(TypeTag<uint32_t>{});
    default: return f(TypeTag<uint64_t>{});
  }
}

}  // namespace anneal::cpu
