#pragma once
#include <cstddef>
#include <string>

namespace anneal::emulate {

/// Runs one thread of a kernel that the emulator's compiler has made, with pointers to its arguments.
struct KernelCall {
  void (*run)(void** arguments);
  size_t shared;  // bytes of shared memory that it finds in the block's
};

/// Loads what the compiler gave. Throws an Error (Device) for what it has not made.
KernelCall loadKernel(const std::string& code);

}  // namespace anneal::emulate
