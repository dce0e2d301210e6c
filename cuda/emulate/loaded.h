#pragma once
#include <string>

namespace anneal::emulate {

/// Runs one thread of a kernel that the emulator's compiler has made, with pointers to its arguments.
using KernelCall = void (*)(void** arguments);

/// Loads what the compiler gave. Throws an Error (Device) for what it has not made.
KernelCall loadKernel(const std::string& code);

}  // namespace anneal::emulate
