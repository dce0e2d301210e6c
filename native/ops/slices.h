#pragma once
#include "op/define.h"

namespace anneal::ops {

/// Positions in a row-major tensor, as strides and an offset in elements.
struct Strided {
  Ints shape, strides;
  int64_t offset = 0;
};
/// Those elements of a tensor, and its gradient: a tensor of `shape` that is 0 but for them.
extern const Op<Strided> strided, stridedGrad;

struct Slice {
  Ints starts, ends;
  std::optional<Ints> steps, axes;
};
extern const Op<Slice> slice;

struct Narrow {
  int64_t axis = 0, start = 0, size = 0;
};
/// The elements from `start` on along one axis.
extern const Op<Narrow> narrow;

struct Flip {
  std::optional<Ints> axis;
};
extern const Op<Flip> flip;

struct Diagonal {
  int64_t offset = 0, axisA = 0, axisB = 1;
};
extern const Op<Diagonal> diagonal;

struct Split {
  Ints sizes;
  int64_t axis = 0;
};
extern const Op<Split> split;

struct Chunk {
  int64_t parts = 1, axis = 0;
};
extern const Op<Chunk> chunk;

struct Unstack {
  int64_t axis = 0;
};
extern const Op<Unstack> unstack;

}  // namespace anneal::ops
