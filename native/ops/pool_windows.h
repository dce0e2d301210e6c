#pragma once
#include "cpu/spatial.h"
#include "ops/pool.h"

namespace anneal::ops {

/// The inputs of each window, with what an average multiplies them by.
cpu::SpatialMap mapOf(const Windows& w);

double windowCost(const Windows& w, std::span<const View> in, std::span<const View> out);

}  // namespace anneal::ops
