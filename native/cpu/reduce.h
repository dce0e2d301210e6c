#pragma once
#include <vector>

#include "cpu/reduce_loops.h"
#include "runtime/task.h"

namespace anneal::cpu {

/// What becomes of a total: total * number; its square root; or |total|^number.
enum class Finish { None, Scale, ScaledRoot, Power };

struct Reduction {
  Reducer reducer = Reducer::Sum;
  Finish finish = Finish::None;
  double number = 1;
};

/// out = `x` reduced over `axes` (sorted, from 0). Floats add up in float lanes of at most 64 elements and from there
/// in double, in an order that does not depend on the number of threads. `operands` has a value for each element of
/// `out`.
void reduce(const Reduction& reduction, const View& x, const Ints& axes, const View& out,
            const double* operands = nullptr);

/// The same into new memory in double.
std::vector<double> reduceToDouble(const Reduction& reduction, const View& x, const Ints& axes,
                                   const double* operands = nullptr);

}  // namespace anneal::cpu
