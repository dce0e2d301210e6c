#pragma once
#include "op/define.h"

namespace anneal::ops {

struct ToShape {
  Ints shape;
};
/// One size may be -1: what remains.
extern const Op<ToShape> reshape;
extern const Op<ToShape> broadcastTo;

struct Axes {
  Ints axes;
};
extern const Op<Axes> permute;

}  // namespace anneal::ops
