#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/philox.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

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

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(fillWords);
HWY_EXPORT(normalTile);
void randomWords(const Key& key, uint32_t stream, int64_t first, int64_t count, uint32_t* out) {
  HWY_DYNAMIC_DISPATCH(fillWords)(key.seed, uint64_t(key.offset) + uint64_t(first / 4), stream, count / 4, out);
}
void randomNormals(const uint32_t* words, int64_t n, float* out) { HWY_DYNAMIC_DISPATCH(normalTile)(words, n, out); }
}  // namespace anneal::cpu
#endif
