#pragma once
#include "op/define.h"

namespace anneal::ops {

struct Full {
  Ints shape;
  double value = 0;
  DType dtype = DType::Float32;
};
extern const Op<Full> fullOp;

/// A tensor of one value.
Tensor full(const Shape& shape, double value, DType dtype);
/// Ones or zeros with the shape and dtype of `like`.
Tensor onesLike(const Tensor& like);
Tensor zerosLike(const Tensor& like);
/// A number literal for use beside tensors: it does not promote their dtype.
Tensor number(double value);

}  // namespace anneal::ops
