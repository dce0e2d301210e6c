#pragma once
#include "core/shape.h"

namespace anneal::ops {

/// One entry per spatial axis from a list of one or `rank` numbers, each at least `least`; throws an Error (Value).
inline Dims perAxis(const std::string& op, const char* what, const Ints& given, int rank, int64_t least) {
  require(given.size() == 1 || int(given.size()) == rank, Code::Value, op, ": ", what,
          " needs one number, or one for each of the ", rank, " spatial axes; got ", given);
  Dims d = given.size() == 1 ? Dims::filled(rank, given[0]) : Dims(given);
  for (int64_t v : d)
    require(v >= least && v <= INT32_MAX, Code::Value, op, ": ", what, " must be ", least, " or more; got ", given);
  return d;
}

/// [first, middle, last]
inline Shape join(int64_t first, const Dims& middle, int64_t last) {
  Shape shape = middle;
  shape.insert(0, first);
  shape.push(last);
  return shape;
}

/// The axes between batch and channels.
inline Dims spatial(const Shape& x) { return x.slice(1, x.rank() - 1); }

/// Throws an Error (Shape) unless `x` is [batch, spatial axes, channels] with `rank` spatial axes.
inline void checkImages(const std::string& op, const Shape& x, int rank) {
  static constexpr const char* axes[] = {"length", "height, width", "depth, height, width"};
  require(x.rank() == rank + 2, Code::Shape, op, ": the input must have the axes [batch, ", axes[rank - 1],
          ", channels]; got ", x);
}

/// The names of the spatial axes, for documentation.
inline std::string axisNames(int rank) {
  return rank == 1 ? "length" : (rank == 2 ? "height, width" : "depth, height, width");
}

}  // namespace anneal::ops
