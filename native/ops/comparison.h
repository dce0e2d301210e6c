#pragma once
#include "op/define.h"

namespace anneal::ops {

extern const Op<None> equal, notEqual, less, lessEqual, greater, greaterEqual;

struct Closeness {
  double rtol = 1e-5, atol = 1e-8;
  bool equalNan = false;
  void params(double* p) const { p[0] = rtol, p[1] = atol, p[2] = equalNan; }
};
extern const Op<Closeness> isClose, allClose;

}  // namespace anneal::ops
