#pragma once
#include <span>
#include <vector>

#include "cpu/parallel.h"
#include "runtime/task.h"

namespace anneal::cpu {

/// A stretch of one of many tensors.
struct Chunk {
  size_t tensor;
  int64_t begin, n;
};

/// Calls `f(i, chunk)` for all stretches of at most `most` elements of all tensors, in parallel over all of them.
template <class Prepare, class F>
void forEachChunk(std::span<const View> tensors, int64_t most, Prepare&& prepare, F&& f) {
  std::vector<Chunk> chunks;
  for (size_t t = 0; t < tensors.size(); ++t)
    for (int64_t at = 0, size = tensors[t].size(); at < size; at += most)
      chunks.push_back({t, at, std::min(most, size - at)});
  prepare(chunks.size());
  parallelFor(int64_t(chunks.size()), 2, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(size_t(i), chunks[size_t(i)]);
  });
}

template <class F>
void forEachChunk(std::span<const View> tensors, int64_t most, F&& f) {
  forEachChunk(
      tensors, most, [](size_t) {}, std::forward<F>(f));
}

}  // namespace anneal::cpu
