#pragma once
#include <span>

#include "runtime/task.h"

namespace anneal::cpu {

/// The sum of the squares of all elements of floating-point tensors. It is summed in parts of fixed sizes, so that it
/// does not depend on the number of threads.
double squaredNorm(std::span<const View> tensors);
/// Every tensor times a number, into `out`, which may be the same memory.
void scale(std::span<const View> tensors, double factor, std::span<const View> out);
/// out = x + factor * y, element by element, for equal types.
void addScaled(const View& x, double factor, const View& y, const View& out);

}  // namespace anneal::cpu
