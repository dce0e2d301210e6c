#pragma once
#include "runtime/task.h"

namespace anneal::cuda {

/// out = in, converted and broadcast, between any strides.
void copy(const View& in, const View& out);
/// Puts one value, which came with a call, everywhere; `out` is contiguous.
void fillWith(const View& scalar, const View& out);
/// Every element of `out`, of any strides, becomes `value`.
void fill(const View& out, double value);
/// `v` itself where it lies in the device's memory, contiguous, as `dtype` and of `shape`; else a copy in working
/// memory.
class Prepared {
 public:
  Prepared(const View& v, const Shape& shape, DType dtype);
  Prepared(const View& v, DType dtype);
  const View& view() const { return view_; }

 private:
  View view_;
  std::shared_ptr<class Scratch> memory_;
};

}  // namespace anneal::cuda
