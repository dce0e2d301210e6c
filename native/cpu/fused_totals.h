#pragma once
#include "cpu/fused.h"
#include "cpu/reduce.h"

namespace anneal::cpu {

/// Totals of each row of what a chain computes, as a matrix of `width` columns.
struct Totals {
  int of = 0;  // the register
  Reducer reducer = Reducer::Sum;
  Finish finish = Finish::None;
  double number = 1;
  int64_t width = 1;
};

/// Whether runTotals adds up rows in the order of `reduce`, and so gives the same bits.
bool totalsLikeReduce(int64_t rows, int64_t width);

/// Computes a chain over `shape` tile by tile, and the totals of its rows into `result`. `out` has its outputs.
void runTotals(const Chain& chain, const Totals& totals, const Shape& shape, std::span<const View> in,
               std::span<const View> out, const View& result);

}  // namespace anneal::cpu
