#pragma once
#include "op/define.h"

namespace anneal::ops {

struct Triangle {
  int64_t diagonal = 0;
};
/// Matrices with zeros above or below a diagonal.
extern const Op<Triangle> tril, triu;

}  // namespace anneal::ops
