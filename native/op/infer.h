#pragma once
#include <algorithm>

#include "op/row.h"

namespace anneal {

/// PyTorch's result_type over values with `dtype`, a rank and a `weak` flag: tensors with axes decide the dtype within
/// their category (bool < integer < float); scalars, and after them number literals, count only where their category is
/// higher. Literals are int32 or float32 then.
class Promotion {
 public:
  void add(DType dtype, int rank, bool weak) {
    DType& slot = slots_[weak ? 2 : (rank == 0 ? 1 : 0)];
    bool& seen = seen_[weak ? 2 : (rank == 0 ? 1 : 0)];
    if (weak) dtype = isFloat(dtype) ? DType::Float32 : (isInteger(dtype) ? DType::Int32 : DType::Bool);
    slot = seen ? promote(slot, dtype) : dtype;
    seen = true;
  }
  DType result() const {
    DType out = DType::Bool;
    bool any = false;
    for (int i = 0; i < 3; ++i) {
      if (!seen_[size_t(i)]) continue;
      DType next = slots_[size_t(i)];
      if (!any) out = next;
      else if (category(next) > category(out)) out = promote(out, next);
      any = true;
    }
    return out;
  }

 private:
  static int category(DType d) { return isFloat(d) ? 2 : (isInteger(d) ? 1 : 0); }
  std::array<DType, 3> slots_{};
  std::array<bool, 3> seen_{};
};

inline DType promoted(Inputs in) {
  // Most calls have one dtype, and no literals: that is the result.
  if (std::all_of(in.begin(), in.end(),
                  [&](const Tensor& t) { return t && !t.impl()->weak && t.dtype() == in[0].dtype(); }) &&
      !in.empty())
    return in[0].dtype();
  Promotion p;
  for (const Tensor& t : in)
    if (t) p.add(t.dtype(), t.rank(), t.impl()->weak);
  return p.result();
}
inline DType promoted(std::span<const View> in) {
  Promotion p;
  for (const View& v : in)
    if (v.defined) p.add(v.dtype, v.shape.rank(), v.weak);
  return p.result();
}

/// The shape to which all inputs broadcast.
inline Shape broadcastAll(std::string_view op, Inputs in) {
  Shape shape;
  for (const Tensor& t : in)
    if (t && t.shape() != shape) shape = broadcast(op, shape, t.shape());
  return shape;
}

/// The axes of a reduction, counted from 0, sorted and checked; all of them when none are given.
inline Ints reductionAxes(std::string_view op, const std::optional<Ints>& axes, int rank) {
  Ints out;
  if (!axes) {
    for (int i = 0; i < rank; ++i) out.push_back(i);
    return out;
  }
  for (int64_t a : *axes) {
    int axis = resolveAxis(op, a, rank);
    require(std::find(out.begin(), out.end(), axis) == out.end(), Code::Value, op, ": axis ", a, " is given twice");
    out.push_back(axis);
  }
  std::sort(out.begin(), out.end());
  return out;
}

inline Shape reducedShape(const Shape& shape, const Ints& axes, bool keepDims) {
  Shape out;
  for (int i = 0; i < shape.rank(); ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) out.push(shape[i]);
    else if (keepDims) out.push(1);
  }
  return out;
}

}  // namespace anneal
