#pragma once
#include "op/define.h"

namespace anneal::ops {

struct ToShape {
  Ints shape;
};
/// One size may be -1: what remains.
extern const Op<ToShape> reshape;
extern const Op<ToShape> broadcastTo;

struct Permute {
  Ints axes;
};
extern const Op<Permute> permute;

struct Transpose {
  int64_t axisA = 0, axisB = 0;
};
extern const Op<Transpose> transpose;

struct MoveAxis {
  int64_t from = 0, to = 0;
};
extern const Op<MoveAxis> moveAxis;

struct Flatten {
  int64_t startAxis = 0, endAxis = -1;
};
extern const Op<Flatten> flatten;

struct Squeeze {
  std::optional<Ints> axis;
};
extern const Op<Squeeze> squeeze;

struct ExpandDims {
  int64_t axis = 0;
};
/// A new axis of size 1.
extern const Op<ExpandDims> expandDims;

extern const Op<None> contiguous;

}  // namespace anneal::ops
