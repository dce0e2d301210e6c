#pragma once
#include <algorithm>

#include "graph/graph.h"

namespace anneal {

/// Where the results of a graph's operations lie while it runs.
struct Plan {
  enum class Home : uint8_t {
    Outside,  // brought along: arguments, cells, constants
    Arena,    // at `offset` of the memory that one run takes and gives back
    Own,      // memory of its own, which outlives the run
    None,     // nothing refers to it
  };
  struct Place {
    Home home = Home::None;
    size_t offset = 0;
    int cell = -1;  // with Own: may be written over this cell's old value if nobody else holds that
    // Whether it lies in the arena for the run, though it is brought from outside or outlives the run.
    bool visits = false;
    int slot = -1;   // the same of a few bytes, which may come from the host: see slots
    int keeps = -1;  // with Own: the cell whose old value stays where a kernel has found a mistake in its data
  };
  std::vector<Place> places;  // by value
  size_t arena = 0;           // bytes
  size_t slots = 0;           // of 16 bytes each, behind the arena
  std::vector<size_t> live;   // by operation: bytes of the arena in use while it runs
  /// The least that the arena could have for operations in this order.
  size_t bound() const { return live.empty() ? 0 : *std::max_element(live.begin(), live.end()); }
};

/// Places values by their lifetimes, those that live at different times over each other. `steady`: operations find
/// everything where it was in the last run, but for cells and what is written over them.
Plan planMemory(const Graph& graph, bool steady = false);

}  // namespace anneal
