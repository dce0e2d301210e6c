#pragma once
#include "op/define.h"
#include "ops/creation.h"

namespace anneal::ops {

struct Join {
  int64_t axis = 0;
};
/// Tensors one after the other along an axis, and along a new axis.
extern const Op<Join> concat, stack;

enum class PadMode { Constant, Reflect, Edge, Circular };
struct Pad {
  Ints padding;
  PadMode mode = PadMode::Constant;
  double value = 0;
};
extern const Op<Pad> pad;

struct PadConstant {
  Ints padding;
  double value = 0;
};
extern const Op<PadConstant> padConstant;

struct Roll {
  Ints shifts;
  std::optional<Ints> axis;
};
extern const Op<Roll> roll;

struct Tile {
  Ints repeats;
};
extern const Op<Tile> tile;

struct Repeat {
  int64_t count = 1;
  std::optional<int64_t> axis;
};
extern const Op<Repeat> repeat;

enum class MeshIndexing { Ij, Xy };
struct Meshgrid {
  MeshIndexing indexing = MeshIndexing::Ij;
};
extern const Op<Meshgrid> meshgrid;

}  // namespace anneal::ops
