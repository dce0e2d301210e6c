#pragma once
#include <cstddef>

namespace anneal::cpu {

/// What a kernel's working memory is for; one buffer of each kind exists per thread.
enum class Purpose {
  Primitive,
  Source,
  Weights,
  Result,
  PackedA,
  PackedB,
  Partial,
  Scores,
  Patches,
  ConvSource,
  ConvWeights,
  ConvBias,
  ConvResult,
  ConvPacked,
  ConvPadded,
  Count
};

/// At least `bytes` of the calling thread's working memory for `purpose`, 64-byte aligned, kept for the next call.
/// Valid until the thread asks for the same purpose again. Throws std::bad_alloc.
void* workspace(Purpose purpose, size_t bytes);

template <class T>
T* workspace(Purpose purpose, size_t count) {
  return static_cast<T*>(workspace(purpose, count * sizeof(T)));
}

}  // namespace anneal::cpu
