#pragma once
#include "op/define.h"

namespace anneal::ops {

struct Full {
  Ints shape;
  double value = 0;
  DType dtype = DType::Float32;
};
extern const Op<Full> fullOp;

struct Constant {
  Ints shape;
  DType dtype = DType::Float32;
};
extern const Op<Constant> zerosOp, onesOp;

struct FullLike {
  double value = 0;
};
extern const Op<FullLike> fullLikeOp;
extern const Op<None> zerosLikeOp, onesLikeOp;

/// `start + i * step` for `count` elements.
struct Range {
  double start = 0, step = 1;
  int64_t count = 0;
  DType dtype = DType::Float32;
};
extern const Op<Range> range;

struct Linspace {
  double start = 0, stop = 1;
  int64_t count = 2;
  DType dtype = DType::Float32;
};
extern const Op<Linspace> linspace;

struct Eye {
  int64_t rows = 0;
  std::optional<int64_t> columns;
  DType dtype = DType::Float32;
};
extern const Op<Eye> eye;

/// A tensor of one value.
Tensor full(const Shape& shape, double value, DType dtype);
/// Ones or zeros with the shape and dtype of `like`.
Tensor onesLike(const Tensor& like);
Tensor zerosLike(const Tensor& like);
/// A number literal for use beside tensors: it does not promote their dtype.
Tensor number(double value);

}  // namespace anneal::ops
