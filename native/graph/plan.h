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
  };
  std::vector<Place> places;  // by value
  size_t arena = 0;           // bytes
  std::vector<size_t> live;   // by operation: bytes of the arena in use while it runs
  /// The least that the arena could have for operations in this order.
  size_t bound() const { return live.empty() ? 0 : *std::max_element(live.begin(), live.end()); }
};

/// Places values by their lifetimes, those that live at different times over each other.
Plan planMemory(const Graph& graph);

}  // namespace anneal
