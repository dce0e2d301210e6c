#pragma once
// What cuda/warpgroup.cuh has of Hopper's instructions: see the PTX ISA on asynchronous warpgroup level matrix
// instructions.
#include <cstdint>

namespace anneal::emulate {

/// c = A B (+= where `accumulate`), of 64 x 16 and 16 x `columns` elements of 16 bits.
struct Product {
  float (*c)[4];
  int columns;
  bool accumulate;
  const uint32_t* a;     // a warp's 16 rows in fragments, or null: `left` describes A
  uint64_t left, right;  // matrix descriptors
  bool transposed;       // of B: its rows lie one after the other, not its columns
  float (*element)(uint16_t bits);
};

/// Starts a product for a group of 4 warps. Its operands are read now, must be there and stay as they are until the
/// product is waited for; until then c is NaN.
void multiplyLater(const Product& product);
void fenceOperands();
void commitProducts();
/// Waits for all but the `pending` latest groups of this thread.
void waitProducts(int pending);
/// Ends the products of this thread at once, for kernels whose registers change names.
void finishAtOnce();
/// What has arrived in shared memory may be read by products after a barrier.
void fenceAsync();

}  // namespace anneal::emulate
