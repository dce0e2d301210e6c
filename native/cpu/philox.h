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

/// n values of a normal distribution between two bounds (n at most kRandomTile), from a word each: the word says how
/// far from `low` to `high`, both probabilities, to go, and the quantile there is scaled.
void truncatedNormals(const uint32_t* words, int64_t n, double low, double high, double mean, double std, float* out);

/// Random integers below `range` <= 2^32 from n words (n at most kRandomTile): philox::below, with the second words
/// drawn only where they matter.
void randomBelow(const Key& key, int64_t first, const uint32_t* words, int64_t n, uint64_t range, uint32_t* out);

/// Sorts the indices below `size` by their 64 random bits into `out`.
void randomOrder(const Key& key, int64_t size, uint32_t* out);

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
