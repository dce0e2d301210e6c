#pragma once
// Counter-based random numbers, written once for every backend: the same key gives the same numbers anywhere, whatever
// the order or the number of threads. Philox 4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as
// easy as 1, 2, 3", SC 2011.
#include <cmath>
#include <cstdint>

#include "core/portable.h"

namespace anneal::philox {

/// Ten rounds over four counter words, in place, under the key (k0, k1).
ANNEAL_HD inline void rounds(uint32_t (&c)[4], uint32_t k0, uint32_t k1) {
  for (int i = 0; i < 10; ++i) {
    uint64_t a = uint64_t(0xD2511F53u) * c[0], b = uint64_t(0xCD9E8D57u) * c[2];
    uint32_t next0 = uint32_t(b >> 32) ^ c[1] ^ k0, next2 = uint32_t(a >> 32) ^ c[3] ^ k1;
    c[1] = uint32_t(b);
    c[3] = uint32_t(a);
    c[0] = next0;
    c[2] = next2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/// The four words of step `counter` of the sequence that `seed` names. Streams are independent sequences beside each
/// other: stream 0 gives an element's first 32 bits, stream 1 further ones where a dtype or range needs them.
ANNEAL_HD inline void block(int64_t seed, uint64_t counter, uint32_t stream, uint32_t (&out)[4]) {
  out[0] = uint32_t(counter);
  out[1] = uint32_t(counter >> 32);
  out[2] = stream;
  out[3] = 0;
  rounds(out, uint32_t(uint64_t(seed)), uint32_t(uint64_t(seed) >> 32));
}

/// Uniform in [0, 1), with as many random bits as `digits` says (24 for float, fewer for the 16-bit floats).
ANNEAL_HD inline float uniform(uint32_t bits, int digits) { return float(bits >> (32 - digits)) / float(1u << digits); }
/// Uniform in [0, 1) with 53 random bits.
ANNEAL_HD inline double uniform(uint32_t high, uint32_t low) {
  return double((uint64_t(high) << 21) | (low >> 11)) * 0x1p-53;
}

/// The cosine and the sine of `turns` whole turns, 0 <= turns < 1. A GPU has functions for just that; those of an angle
/// have to divide it by pi first, and reckon with large ones.
template <class T>
ANNEAL_HD inline void direction(T turns, T& cosine, T& sine) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == sizeof(float)) sincospif(2 * turns, &sine, &cosine);
  else sincospi(2 * turns, &sine, &cosine);
#else
  const T angle = T(6.283185307179586476925) * turns;
  cosine = std::cos(angle);
  sine = std::sin(angle);
#endif
}

/// Two independent standard normal numbers from two uniform ones in [0, 1) (Box and Muller 1958).
template <class T>
ANNEAL_HD inline void normals(T u, T v, T& first, T& second) {
  const T radius = std::sqrt(T(-2) * std::log(T(1) - u));
  direction(v, first, second);
  first *= radius;
  second *= radius;
}

/// The place that 64 random bits choose among `range`: their product's upper half, whose bias is below range / 2^64.
ANNEAL_HD inline uint64_t below(uint32_t high, uint32_t low, uint64_t range) {
  uint64_t h = uint64_t(high), l = uint64_t(low), r1 = range >> 32, r0 = range & 0xffffffffu;
  uint64_t middle = h * r0 + ((l * r0) >> 32), cross = l * r1 + (middle & 0xffffffffu);
  return h * r1 + (middle >> 32) + (cross >> 32);
}

/// The 32-bit words below which a fraction `p` of all lies, as a bound that may be 2^32.
ANNEAL_HD inline uint64_t fraction(double p) { return uint64_t(std::llround(p * 4294967296.0)); }

/// The x with a standard normal probability of `p` below it: a closed approximation, then steps of Halley's method.
ANNEAL_HD inline double inverseNormal(double p) {
  if (p <= 0) return -INFINITY;
  if (p >= 1) return INFINITY;
  double tail = p < 0.5 ? p : 1 - p;
  // S. Winitzki's approximation of the inverse error function at 1 - 2 tail.
  double l = std::log(4 * tail * (1 - tail)), t = 2 / (3.14159265358979324 * 0.147) + l / 2;
  double x = std::sqrt(2.0) * std::sqrt(std::sqrt(t * t - l / 0.147) - t);
  for (int i = 0; i < 2; ++i) {
    double density = std::exp(-x * x / 2) * 0.39894228040143268;
    double step = (tail - std::erfc(x / std::sqrt(2.0)) / 2) / density;
    x -= step / (1 + x * step / 2);
  }
  return p < 0.5 ? -x : x;
}

}  // namespace anneal::philox
