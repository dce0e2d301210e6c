#pragma once
#include <cstdint>

namespace anneal::cpu {

/// What is done to a matrix of results block by block, while a block is in cache.
class BlockWork {
 public:
  virtual ~BlockWork() = default;
  /// Gets the block of `rows` rows and `columns` columns from element (row, column) on, without gaps at `block`.
  /// Several threads call it.
  virtual void apply(void* block, int64_t row, int64_t rows, int64_t column, int64_t columns) const = 0;
};

}  // namespace anneal::cpu
