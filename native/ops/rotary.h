#pragma once
#include "op/define.h"

namespace anneal::ops {

struct Rotary {
  double base = 10000;
  bool interleaved = false;
  int64_t offset = 0;
  bool inverse = false;
};
/// Rotates pairs of the last axis by angles that grow with the position along the one before it.
extern const Op<Rotary> rotaryEmbedding;

}  // namespace anneal::ops
