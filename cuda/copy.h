#pragma once
#include "runtime/task.h"

namespace anneal::cuda {

/// out = in, converted and broadcast, between any strides.
void copy(const View& in, const View& out);
/// Puts one value, which came with a call, everywhere.
void fillWith(const View& scalar, const View& out);
void fill(const View& out, double value);
/// `v` itself where it lies in the device's memory, contiguous, as `dtype`; else a copy in working memory.
class Prepared {
 public:
  Prepared(const View& v, DType dtype);
  const View& view() const { return view_; }

 private:
  View view_;
  std::shared_ptr<class Scratch> memory_;
};

}  // namespace anneal::cuda
