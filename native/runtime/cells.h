#pragma once
#include "core/tensor.h"

namespace anneal {

/// How a cell, a tensor whose value is replaced, takes a value over.
struct Assigning {
  bool converts = false;  // the dtype and the device may change
  /// The value was computed for the cell: where that fails, or its data have a mistake, and nobody else holds the
  /// value, the cell keeps the old one.
  bool given = false;
};
/// Gives `cell` the value of `value`, sharing its memory. Throws an Error (Shape) where they differ.
void assign(const Tensor& cell, Tensor value, Assigning how);

}  // namespace anneal
