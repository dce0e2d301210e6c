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

/// How `reduce` takes rows without gaps that are not short: pieces of a row whose totals are merged in order, and the
/// elements of piece `i`. Rows of fewer than kLeastRow elements it takes in another way.
inline constexpr int64_t kLeastRow = 32;
int64_t piecesOf(int64_t rows, int64_t width);
std::pair<int64_t, int64_t> pieceOf(int64_t i, int64_t pieces, int64_t width);
/// Writes n totals, finished, from element `at` of `out` on.
void writeTotals(const Reduction& reduction, double* totals, int64_t n, const View& out, int64_t at);

/// The same as `reduce` into new memory in double.
std::vector<double> reduceToDouble(const Reduction& reduction, const View& x, const Ints& axes,
                                   const double* operands = nullptr);

}  // namespace anneal::cpu
