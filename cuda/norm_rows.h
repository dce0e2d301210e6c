#pragma once
#include "norms.cuh"
#include "ops/norm.h"
#include "rows.cuh"

namespace anneal::cuda {

Rows rowsOf(const ops::NormalizeRows& a, const Shape& x);

/// Working memory for what groups of threads leave behind that hold rows: sums for weight and bias, computed in C.
template <class C>
class GroupSums {
 public:
  GroupSums(const RowPlan& plan, const Rows& r);
  unsigned blocks() const { return blocks_; }
  C* toWeight() const { return memory_.template as<C>(); }
  C* toBias() const { return toWeight() + groups_ * r_.size; }
  /// Adds them up.
  void finish(C* dw, C* db) const;

 private:
  const Rows r_;
  const unsigned blocks_;
  const int64_t groups_;
  const Scratch memory_;
};

/// The gradients of weight and bias where rows are looped over, whose statistics are known.
template <class T>
void sumParameters(const T* g, const T* x, const Statistics<Computed<T>>* statistics, const Rows& r, Computed<T>* dw,
                   Computed<T>* db);

}  // namespace anneal::cuda
