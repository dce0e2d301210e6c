#pragma once
#include "map.h"

namespace anneal::cuda {

/// Fills the tables of elementwise kernels by the numbers of their functors; written when the build is configured.
void addAll(Map* unary, Map* binary, Map* ternary);

}  // namespace anneal::cuda
