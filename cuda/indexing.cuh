#pragma once
// Indices of one or more places along an axis, which are checked where they are read.
#include "copy.h"
#include "core/around.h"
#include "device.h"
#include "index.h"
#include "op/infer.h"
#include "ops/indexing.h"
#include "value.h"

namespace anneal::cuda {

inline FaultSite outOfRange(const char* op) {
  return FaultSite([op](const FaultRecord& r) {
    if (r.c == 0)
      return Error(Code::Index, text(op, ": index ", r.a, " at position ", r.b, ": axis ", r.d, " is empty"));
    return Error(Code::Index, text(op, ": index ", r.a, " at position ", r.b, " is out of range for axis ", r.d,
                                   " of size ", r.c, "; expected 0 to ", r.c - 1));
  });
}
/// An index, and how to complain of what is in it.
struct Index {
  const void* memory;
  bool wide;
  int64_t size;  // of the axis
  int axis, site;
  FaultRecord* record;

  /// The index at `position`; -1 where it is out of range.
  __device__ int64_t at(int64_t position) const {
    const int64_t i =
        wide ? static_cast<const int64_t*>(memory)[position] : static_cast<const int32_t*>(memory)[position];
    if (i >= 0 && i < size) return i;
    report(record, site, i, position, size, axis);
    return -1;
  }
};

inline Index indexOf(const View& index, int64_t size, int axis, const FaultSite& site) {
  return {index.memory, index.dtype == DType::Int64, size, axis, site.number(), current().faults()};
}

/// How the lanes of an index along its axis lie in it and in a tensor whose other axes may be longer.
struct Lanes {
  Walk<2, int64_t> walk;  // from a lane's number to its first element in the index and in the tensor
  int64_t count = 1;      // lanes
  int64_t length = 0;     // of each, in the index
  int64_t indexStep = 0, step = 0;

  Lanes(const Shape& index, const Shape& tensor, int axis) : length(index[axis]) {
    const Strides a = contiguousStrides(index), b = contiguousStrides(tensor);
    indexStep = a[axis];
    step = b[axis];
    for (int i = index.rank() - 1; i >= 0; --i) {
      if (i == axis || index[i] == 1) continue;
      walk.size[walk.rank] = Divider(uint32_t(index[i]));
      walk.stride[walk.rank][0] = a[i];
      walk.stride[walk.rank][1] = b[i];
      ++walk.rank;
      count *= index[i];
    }
    require(count < int64_t(1) << 31, Code::Shape, "cuda: an index has more than 2^31 lanes");
  }
};

template <class A>
int indexAxis(const Call<A>& call) {
  return resolveAxis("index", call.attrs.axis, call.in[0].shape.rank());
}
}  // namespace anneal::cuda
