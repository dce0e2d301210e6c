#pragma once
#include <cstddef>
#include <cstdint>

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
  ScoreGradients,
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

/// At least that many floats: an odd number of cache lines, so that what lies so far apart spreads over a cache.
constexpr int64_t oddLines(int64_t floats) { return ((floats + 15) / 16 | 1) * 16; }

template <class T>
T* workspace(Purpose purpose, size_t count) {
  return static_cast<T*>(workspace(purpose, count * sizeof(T)));
}

}  // namespace anneal::cpu
