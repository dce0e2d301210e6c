#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <vector>

#include "cuda_runtime.h"

namespace anneal::emulate {

constexpr uint64_t kSharedBase = 1024;  // where a block's memory begins in PTX: before it lies the system's

/// A kernel as nvcc made it, in C++ again: see ptx/translate.mjs.
struct Translated {
  const char* name;
  void (*run)(void** arguments);
  uint32_t staticBytes;       // of shared memory
  unsigned threads;           // of a block, at most
  std::vector<size_t> bytes;  // of each parameter
};

/// Takes the kernels of a source, such as conv_kernels.cu, and for which compute capability they are.
bool addTranslated(const char* source, int capability, std::span<const Translated> kernels);

/// The library of what nvcc made, as ANNEAL_EMULATE_PTX names it; null: kernels are the C++ compiler's.
const char* translatedPath();
/// Of the emulated devices: what nvcc made its kernels for, else 90.
int capability();

/// Throws for a launch that the kernel is not made for: parameters of other sizes than `bytes`, too many threads.
void checkTranslated(const Translated& kernel, const std::vector<size_t>& bytes, dim3 block, size_t shared);
/// What nvcc made of a kernel; null without translatedPath(). Throws where it has made none, and for a launch that it
/// is not made for.
const Translated* translationOf(const void* kernel, std::initializer_list<size_t> bytes, dim3 block, size_t shared);
/// Runs it for every thread of the grid.
void runTranslated(const Translated& kernel, dim3 grid, dim3 block, size_t shared, void** arguments);

}  // namespace anneal::emulate
