#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace anneal::cpu {

/// What is computed of the elements that fall together. Several take an operand that belongs to the output: a mean, a
/// maximum or a power.
enum class Reducer {
  Sum,
  NonzeroCount,
  AbsSum,
  SquareSum,
  PowerSum,          // sum of |x|^operand
  SquaredDeviation,  // sum of (x - operand)^2
  ExpSum,            // sum of e^(x - operand)
  Prod,
  Max,
  Min,
  AbsMax,
  AbsMin,
  Any,
  All
};
inline constexpr int kReducers = int(Reducer::All) + 1;

inline constexpr int64_t kMaxColumns = 2048;

/// Reduces the rows of a tile: acc[j] takes in x[i * stride + j] for all i. Tiles have at most kMaxColumns columns.
/// Totals are double for floats and int64 for int64; x is float, double or int64.
using TileLoop = void (*)(const void* x, int64_t stride, int64_t rows, int64_t columns, const double* operand,
                          void* acc);

/// Reduces rows without gaps, `stride` apart: acc[i] takes in x[i * stride + j] for all j below n, at most kMaxRow;
/// operand[i] belongs to row i.
using RowsLoop = void (*)(const void* x, int64_t stride, int64_t rows, int64_t n, const double* operand, void* acc);
inline constexpr int64_t kMaxRow = 2048;

template <class Loop>
struct ByType {
  Loop f32 = nullptr, f64 = nullptr, i64 = nullptr;
  Loop of(DType compute) const { return compute == DType::Float32 ? f32 : (compute == DType::Float64 ? f64 : i64); }
};
struct Reducing {
  ByType<TileLoop> tile;
  ByType<RowsLoop> rows;
};

/// The loops of a reducer, for the processor this runs on.
Reducing reducing(Reducer reducer);

/// The total of nothing, and of two totals.
template <class Acc>
Acc initialTotal(Reducer reducer);
template <class Acc>
Acc mergeTotals(Reducer reducer, Acc a, Acc b);

}  // namespace anneal::cpu
