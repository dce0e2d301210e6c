#pragma once
#include "cpu/parallel.h"
#include "runtime/task.h"

namespace anneal::cpu {

/// The key of a random op: its last input.
struct Key {
  int64_t seed, offset;
  explicit Key(const View& v) : seed(v.as<int64_t>()[0]), offset(v.as<int64_t>()[1]) {}
};

inline constexpr int64_t kRandomTile = 1024;  // words made at a time; a multiple of four

/// `count` words (a multiple of four) of `stream` from element `first` (a multiple of four) on.
void randomWords(const Key& key, uint32_t stream, int64_t first, int64_t count, uint32_t* out);

/// Standard normal numbers from n words (n at most kRandomTile): each pair gives two (philox::normals).
void randomNormals(const uint32_t* words, int64_t n, float* out);

/// Calls `f(first, n, words, more)` for tiles of the elements [0, size): a word for each element, and another in `more`
/// if `wide`.
template <class F>
void eachRandomTile(const Key& key, int64_t size, bool wide, F&& f) {
  int64_t tiles = (size + kRandomTile - 1) / kRandomTile;
  parallelFor(tiles, 4, [&](int64_t begin, int64_t end) {
    alignas(64) uint32_t words[kRandomTile], more[kRandomTile];
    for (int64_t t = begin; t < end; ++t) {
      int64_t first = t * kRandomTile, n = std::min(kRandomTile, size - first), whole = (n + 3) / 4 * 4;
      randomWords(key, 0, first, whole, words);
      if (wide) randomWords(key, 1, first, whole, more);
      f(first, n, static_cast<const uint32_t*>(words), static_cast<const uint32_t*>(more));
    }
  });
}

}  // namespace anneal::cpu
