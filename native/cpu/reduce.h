#pragma once
#include "runtime/task.h"

namespace anneal::cpu {

/// out = sum of `x` over `axes` (sorted, from 0), accumulated in double for float64, float for the other floats, else int64.
void sum(const View& x, const Ints& axes, const View& out);

}  // namespace anneal::cpu
