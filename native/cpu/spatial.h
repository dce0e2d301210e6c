#pragma once
#include <array>
#include <vector>

#include "runtime/task.h"

namespace anneal::cpu {

/// Which positions of the input each position of the output reads, along one spatial axis.
struct AxisMap {
  struct Entry {
    int64_t at;     // position in the input
    int64_t tap;    // number of the entry within its window
    double weight;  // in a weighted sum
  };
  int64_t inputs = 0, taps = 1;
  std::vector<size_t> starts{0};  // entries of output o: starts[o] to starts[o + 1]
  std::vector<Entry> entries;

  int64_t outputs() const { return int64_t(starts.size()) - 1; }
  /// Ends the entries of the next output.
  void close() { starts.push_back(entries.size()); }
  /// The same connections, seen from the input.
  AxisMap transposed() const;
};

/// Maps of one to three spatial axes: an output position reads the product of its axes' entries.
struct SpatialMap {
  explicit SpatialMap(std::vector<AxisMap> maps);
  std::array<AxisMap, 3> axes;
  SpatialMap transposed() const;
  int64_t outputs() const { return axes[0].outputs() * axes[1].outputs() * axes[2].outputs(); }
  int64_t inputs() const { return axes[0].inputs * axes[1].inputs * axes[2].inputs; }
};

// All data is [batch, spatial, channels], contiguous.

/// y = the sums of what each position reads, weighted.
void weightedSums(const SpatialMap& map, const View& x, const View& y);
/// y = the largest value of what each position reads (NaN above all), and, where `taps` is defined, the number of the
/// first entry that has it, uint8 or int32.
void windowMax(const SpatialMap& map, const View& x, const View& y, const View& taps);
/// y = the value of the entry numbered by `taps`.
void pickTaps(const SpatialMap& map, const View& x, const View& taps, const View& y);
/// dx = the sum of `grad` over the windows in which `taps` numbers this position; `map` is transposed.
void spreadTaps(const SpatialMap& map, const View& grad, const View& taps, const View& dx);

}  // namespace anneal::cpu
