#include "machine.h"

#include <span>

namespace anneal::emulate::ptx {

std::byte* sharedPlace(uint64_t at, size_t bytes) {
  const std::span<std::byte> all = sharedMemory();
  if (at < kSharedBase || at - kSharedBase + bytes > all.size()) {
    misuse("an address lies outside of the block's shared memory");
    return nullptr;
  }
  return all.data() + (at - kSharedBase);
}

float fmaRounded(float a, float b, float c, int mode) {
  volatile float x = a, y = b, z = c;  // nothing is computed before the mode is set
  std::fesetround(mode);
  volatile float out = std::fma(x, y, z);
  std::fesetround(FE_TONEAREST);
  return out;
}

/// Four bits of exponent, three of mantissa, no infinity; larger than 448 is 448.
uint8_t toE4M3(float a) {
  const uint8_t sign = std::signbit(a) ? 0x80 : 0;
  if (std::isnan(a)) return 0x7f;
  const float size = std::fabs(a);
  if (size == 0) return sign;
  if (size >= 448) return sign | 0x7e;
  int exponent = 0;
  std::frexp(size, &exponent);
  const int unit = std::max(exponent - 4, -9);  // of the last place
  const float places = std::nearbyint(std::ldexp(size, -unit));
  // Places below 8 are those of the smallest exponent; rounding up to 16 goes on to the next one.
  return sign | uint8_t((unit + 9) * 8 + int(places));
}

namespace {

/// Which threads take part: `c` has the width of a segment, and the lane that is the last (or first) to be read.
Shuffled shuffleFrom(uint32_t value, int from, bool inside, uint32_t mask) {
  return {uint32_t(exchange(mask, value, inside ? from : lane())), inside};
}
int firstOf(uint32_t c) { return lane() & int(c >> 8 & 0x1f); }
int lastOf(uint32_t c) { return firstOf(c) | (int(c & 0x1f) & ~int(c >> 8 & 0x1f)); }

}  // namespace

Shuffled shfl_idx(uint32_t value, uint32_t b, uint32_t c, uint32_t mask) {
  const int from = firstOf(c) | (int(b & 0x1f) & ~int(c >> 8 & 0x1f));
  return shuffleFrom(value, from, from <= lastOf(c), mask);
}
Shuffled shfl_up(uint32_t value, uint32_t b, uint32_t c, uint32_t mask) {
  const int from = lane() - int(b & 0x1f);
  return shuffleFrom(value, from, from >= lastOf(c), mask);
}
Shuffled shfl_down(uint32_t value, uint32_t b, uint32_t c, uint32_t mask) {
  const int from = lane() + int(b & 0x1f);
  return shuffleFrom(value, from, from <= lastOf(c), mask);
}
Shuffled shfl_bfly(uint32_t value, uint32_t b, uint32_t c, uint32_t mask) {
  const int from = lane() ^ int(b & 0x1f);
  return shuffleFrom(value, from, from <= lastOf(c), mask);
}

void wgmma(uint32_t* const* sums, int columns, bool accumulate, const uint32_t* a, uint64_t left, uint64_t right,
           bool transposed, bool brain) {
  constexpr auto half = [](uint16_t bits) { return toFloat(Half{bits}); };
  constexpr auto bfloat = [](uint16_t bits) { return toFloat(BFloat16{bits}); };
  float c[16][4];
  for (int i = 0; i < columns / 2; ++i) c[i / 4][i % 4] = std::bit_cast<float>(*sums[i]);
  multiplyLater({c, columns, accumulate, a, left, right, transposed, brain ? +bfloat : +half});
  finishAtOnce();
  for (int i = 0; i < columns / 2; ++i) *sums[i] = std::bit_cast<uint32_t>(c[i / 4][i % 4]);
}

}  // namespace anneal::emulate::ptx
