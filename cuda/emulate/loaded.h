#pragma once
#include <cstddef>
#include <string>

namespace anneal::emulate {

struct Translated;

/// A kernel that the emulator's compiler has made.
struct KernelCall {
  void (*run)(void** arguments);  // one thread of it, with pointers to its arguments
  size_t shared;                  // bytes of shared memory that it finds in the block's
  const Translated* translated;   // if NVRTC made it
};

/// Loads what the compiler gave. Throws an Error (Device) for what it has not made.
KernelCall loadKernel(const std::string& code);

}  // namespace anneal::emulate
