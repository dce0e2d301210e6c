#pragma once
#include <cstddef>
#include <deque>
#include <span>
#include <vector>

#include "warpgroup.h"

namespace anneal::emulate {

/// Copies to shared memory that a thread has started: those of the open group, and groups that were closed.
struct Copies {
  struct Copy {
    void* to;
    const void* from;
  };
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> closed;
  bool landed = false;  // some have been waited for, and fenceAsync has not come since
};

/// The products of a thread that are under way.
struct Products {
  struct Sum {
    float (*c)[4];
    std::vector<float> value;  // what will lie in c
    uint64_t group;
  };
  struct Operand {
    Product product;
    int warp;
    uint64_t digest, group;
  };
  std::vector<Sum> sums;
  std::vector<Operand> operands;
  uint64_t group = 0, started = 0;  // the group that is open; products so far
  bool fenced = false;              // no register was touched since
};

struct Pending {
  Copies copies;
  Products products;
};

/// Notes products that a block's threads have not waited for, or not started by all warps of a group.
void endProducts(std::span<const Pending> threads);

// Of the thread that runs, and of its block:
Pending& pending();
unsigned threadOfBlock();
std::span<std::byte> sharedMemory();
/// Where it begins in the eyes of the kernel.
uint64_t sharedAddress();
/// Whether something has arrived in shared memory that products may not see: fenceAsync was missing before a barrier.
bool unfenced();

}  // namespace anneal::emulate
