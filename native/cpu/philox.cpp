#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/philox.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/floatspecial.h"
#include "cpu/philox.h"
#include "runtime/philox.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

constexpr int64_t kBlocks = 16;  // in step, word by word, so that the rounds vectorise

/// philox::rounds for kBlocks counters at once.
void manyRounds(uint32_t (&c)[4][kBlocks], uint32_t k0, uint32_t k1) {
  for (int r = 0; r < 10; ++r) {
    for (int64_t i = 0; i < kBlocks; ++i) {
      uint64_t a = uint64_t(0xD2511F53u) * c[0][i], b = uint64_t(0xCD9E8D57u) * c[2][i];
      uint32_t next0 = uint32_t(b >> 32) ^ c[1][i] ^ k0, next2 = uint32_t(a >> 32) ^ c[3][i] ^ k1;
      c[1][i] = uint32_t(b);
      c[3][i] = uint32_t(a);
      c[0][i] = next0;
      c[2][i] = next2;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

void fillWords(int64_t seed, uint64_t counter, uint32_t stream, int64_t blocks, uint32_t* out) {
  int64_t b = 0;
  for (; b + kBlocks <= blocks; b += kBlocks) {
    alignas(64) uint32_t c[4][kBlocks];
    for (int64_t i = 0; i < kBlocks; ++i) {
      uint64_t at = counter + uint64_t(b + i);
      c[0][i] = uint32_t(at);
      c[1][i] = uint32_t(at >> 32);
      c[2][i] = stream;
      c[3][i] = 0;
    }
    manyRounds(c, uint32_t(uint64_t(seed)), uint32_t(uint64_t(seed) >> 32));
    for (int64_t i = 0; i < kBlocks; ++i)
      for (int64_t w = 0; w < 4; ++w) out[(b + i) * 4 + w] = c[w][i];
  }
  for (; b < blocks; ++b) {
    uint32_t words[4];
    philox::block(seed, counter + uint64_t(b), stream, words);
    for (int64_t w = 0; w < 4; ++w) out[b * 4 + w] = words[w];
  }
}

/// philox::normals for a tile. Pairs past the end are computed too, so that no vector is left incomplete.
void normalTile(const uint32_t* words, int64_t n, float* out) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  constexpr int64_t kPairs = kRandomTile / 2;
  alignas(64) float first[kPairs] = {}, second[kPairs] = {};
  int64_t pairs = (n + 1) / 2;
  for (int64_t i = 0; i < pairs; ++i) {
    first[i] = philox::uniform(words[2 * i], 24);
    second[i] = philox::uniform(words[2 * i + 1], 24);
  }
  for (int64_t i = 0; i < pairs; i += int64_t(hn::Lanes(d))) {
    auto u = hn::Load(d, first + i), angle = hn::Mul(hn::Load(d, second + i), hn::Set(d, 6.283185307179586476925f));
    auto radius = hn::Sqrt(hn::Mul(hn::Set(d, -2.0f), hn::Log(d, hn::Sub(hn::Set(d, 1.0f), u))));
    hn::Store(hn::Mul(radius, hn::Cos(d, angle)), d, first + i);
    hn::Store(hn::Mul(radius, hn::Sin(d, angle)), d, second + i);
  }
  for (int64_t i = 0; i < n; ++i) out[i] = i % 2 ? second[i / 2] : first[i / 2];
}

/// The standard normal quantile of p, by way of the nearer tail, which a float holds as precisely as any number.
inline float quantile(double p) {
  auto tail = float(p < 0.5 ? p : 1.0 - p);
  float x = 1.41421356f * scalar::fast::erfinvOf(1.0f - 2.0f * tail, 4.0f * tail * (1.0f - tail));
  return p < 0.5 ? -x : x;
}

[[gnu::flatten]] void truncatedTile(const uint32_t* words, int64_t n, double low, double high, double mean, double std,
                                    float* out) {
  // Giles' approximation reaches so far; what is beyond is rare, or else the whole range is.
  constexpr double kTail = 1e-7;
  auto at = [=](int64_t i) { return low + (double(words[i]) + 0.5) * 0x1p-32 * (high - low); };
  if (high >= kTail && low <= 1 - kTail) {
    for (int64_t i = 0; i < n; ++i) out[i] = float(mean + std * double(quantile(at(i))));
  }
  if (low >= kTail && high <= 1 - kTail) return;
  for (int64_t i = 0; i < n; ++i)
    if (at(i) < kTail || at(i) > 1 - kTail) out[i] = float(mean + std * philox::inverseNormal(at(i)));
}

/// The upper halves of words * range; whether a second word might carry into any of them.
bool belowTile(const uint32_t* words, int64_t n, uint32_t range, uint32_t* out) {
  uint32_t carries = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t product = uint64_t(words[i]) * range;
    out[i] = uint32_t(product >> 32);
    carries |= uint32_t(uint32_t(product) > uint32_t(-range));
  }
  return carries != 0;
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(fillWords);
HWY_EXPORT(normalTile);
HWY_EXPORT(truncatedTile);
HWY_EXPORT(belowTile);
void randomWords(const Key& key, uint32_t stream, int64_t first, int64_t count, uint32_t* out) {
  HWY_DYNAMIC_DISPATCH(fillWords)(key.seed, uint64_t(key.offset) + uint64_t(first / 4), stream, count / 4, out);
}
void randomNormals(const uint32_t* words, int64_t n, float* out) { HWY_DYNAMIC_DISPATCH(normalTile)(words, n, out); }
void truncatedNormals(const uint32_t* words, int64_t n, double low, double high, double mean, double std, float* out) {
  HWY_DYNAMIC_DISPATCH(truncatedTile)(words, n, low, high, mean, std, out);
}

namespace {
/// The word of one element in a stream.
uint32_t wordOf(const Key& key, uint32_t stream, int64_t element) {
  uint32_t words[4];
  philox::block(key.seed, uint64_t(key.offset) + uint64_t(element / 4), stream, words);
  return words[element % 4];
}
}  // namespace

void randomBelow(const Key& key, int64_t first, const uint32_t* words, int64_t n, uint64_t range, uint32_t* out) {
  if (!HWY_DYNAMIC_DISPATCH(belowTile)(words, n, uint32_t(range), out)) return;
  for (int64_t i = 0; i < n; ++i)
    if (words[i] * uint32_t(range) > uint32_t(-uint32_t(range)))
      out[i] = uint32_t(philox::below(words[i], wordOf(key, 1, first + i), range));
}

namespace {

/// An element's first random word above its index: sorting these leaves only equal words to be told apart.
using Entry = uint64_t;
constexpr int kMaxBits = 11;

int bitsFor(int64_t count) {
  int bits = 0;
  while (bits < kMaxBits && (count >> bits) > 1) ++bits;
  return bits;
}

/// Distributes entries by the `bits` bits below the uppermost `skip`; starts[b] is where bucket b begins.
void distribute(const Entry* from, int64_t n, int skip, int bits, Entry* to, std::vector<int64_t>& starts) {
  auto bucket = [=](Entry e) { return bits ? e << skip >> (64 - bits) : 0; };
  starts.assign((size_t(1) << bits) + 1, 0);
  for (int64_t i = 0; i < n; ++i) ++starts[bucket(from[i]) + 1];
  for (size_t b = 1; b < starts.size(); ++b) starts[b] += starts[b - 1];
  std::vector<int64_t> next(starts.begin(), starts.end() - 1);
  for (int64_t i = 0; i < n; ++i) to[next[bucket(from[i])]++] = from[i];
}

void insertionSort(Entry* e, int64_t n) {
  for (int64_t i = 1; i < n; ++i) {
    const Entry value = e[i];
    int64_t j = i;
    for (; j > 0 && e[j - 1] > value; --j) e[j] = e[j - 1];
    e[j] = value;
  }
}

/// Puts entries with equal first words in the order of their second ones.
void settleTies(const Key& key, Entry* e, int64_t n) {
  for (int64_t i = 0, end; i < n; i = end) {
    for (end = i + 1; end < n && e[end] >> 32 == e[i] >> 32;) ++end;
    if (end - i < 2) continue;
    std::sort(e + i, e + end, [&](Entry a, Entry b) {
      return std::pair(wordOf(key, 1, uint32_t(a)), a) < std::pair(wordOf(key, 1, uint32_t(b)), b);
    });
  }
}

}  // namespace

void randomOrder(const Key& key, int64_t size, uint32_t* out) {
  constexpr int64_t kBucket = 4096;
  const auto entries = std::make_unique_for_overwrite<Entry[]>(size_t(size)),
             parts = std::make_unique_for_overwrite<Entry[]>(size_t(size));
  eachRandomTile(key, size, false, [&](int64_t first, int64_t n, const uint32_t* words, const uint32_t*) {
    for (int64_t i = 0; i < n; ++i) entries[size_t(first + i)] = Entry(words[i]) << 32 | Entry(first + i);
  });
  // Random numbers fill buckets evenly: a bucket fits the cache, and a second distribution leaves next to nothing to
  // sort.
  const int bits = bitsFor(size / kBucket);
  std::vector<int64_t> starts;
  distribute(entries.get(), size, 0, bits, parts.get(), starts);
  parallelFor(int64_t(starts.size()) - 1, std::max<int64_t>(1, 8 * int64_t(starts.size()) * kBucket / (size + 1)),
              [&](int64_t begin, int64_t end) {
                std::vector<int64_t> inner;
                for (int64_t b = begin; b < end; ++b) {
                  const int64_t at = starts[size_t(b)], n = starts[size_t(b) + 1] - at;
                  Entry* sorted = entries.get() + at;
                  distribute(parts.get() + at, n, bits, bitsFor(n), sorted, inner);
                  insertionSort(sorted, n);
                  settleTies(key, sorted, n);
                  for (int64_t i = 0; i < n; ++i) out[at + i] = uint32_t(sorted[i]);
                }
              });
}
}  // namespace anneal::cpu
#endif
