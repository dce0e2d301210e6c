#pragma once
// Trigonometric functions of float as loops over them vectorise; see floatmath.h.
#include "cpu/floatmath.h"

namespace anneal::scalar::fast {

/// Beyond this the reduction by quarter turns below is no longer exact.
inline constexpr float kMostRadians = 0x1p20f;
ANNEAL_HD inline bool reducible(float x) { return magnitude(x) <= kMostRadians; }

/// x = n pi/2 + r with |r| <= pi/4. In double, where multiples of the first part of pi/2 are exact.
struct QuarterTurns {
  float r;
  int32_t n;
};
ANNEAL_HD inline QuarterTurns quarterTurns(float x) {
  constexpr double shift = 0x1.8p52, high = 0x1.921fb544p0, low = 0x1.0b4611a626331p-34;
  double shifted = fma(double(x), 0.63661977236758138, shift), n = shifted - shift;
  double r = fma(n, -low, fma(n, -high, double(x)));
  return {float(r), int32_t(uint32_t(std::bit_cast<uint64_t>(shifted)))};
}
ANNEAL_HD inline float sinSmall(float r) {
  float z = r * r, p = 2.718342880e-06f;
  p = fma(p, z, -1.983933899e-04f);
  p = fma(p, z, 8.333329403e-03f);
  p = fma(p, z, -1.666666667e-01f);
  return fma(r, z * p, r);
}
ANNEAL_HD inline float cosSmall(float r) {
  float z = r * r, p = 2.443940882e-05f;
  p = fma(p, z, -1.388737728e-03f);
  p = fma(p, z, 4.166664711e-02f);
  return fma(z * z, p, fma(-0.5f, z, 1.0f));
}
ANNEAL_HD inline float ifOdd(int32_t n, float a, float b) {
  uint32_t mask = -(uint32_t(n) & 1u);
  return std::bit_cast<float>((std::bit_cast<uint32_t>(a) & mask) | (std::bit_cast<uint32_t>(b) & ~mask));
}
ANNEAL_HD inline float sineOf(float r, int32_t n) {
  auto bits = std::bit_cast<uint32_t>(ifOdd(n, cosSmall(r), sinSmall(r)));
  return std::bit_cast<float>(bits ^ (uint32_t(n) << 30 & 0x80000000u));
}

ANNEAL_HD inline float sin(float x) {
  auto [r, n] = quarterTurns(x);
  return select(x == 0.0f, x, sineOf(r, n));
}
ANNEAL_HD inline float cos(float x) {
  auto [r, n] = quarterTurns(x);
  return sineOf(r, n + 1);
}
ANNEAL_HD inline float tan(float x) {
  auto [r, n] = quarterTurns(x);
  float s = sinSmall(r), c = cosSmall(r);
  return select(x == 0.0f, x, ifOdd(n, -c, s) / ifOdd(n, s, c));
}

/// asin(x) for |x| <= 1/2.
ANNEAL_HD inline float asinSmall(float x) {
  float z = x * x, p = 3.750814895e-02f;
  p = fma(p, z, 1.444998358e-02f);
  p = fma(p, z, 3.180277932e-02f);
  p = fma(p, z, 4.451787490e-02f);
  p = fma(p, z, 7.500496734e-02f);
  p = fma(p, z, 1.666666020e-01f);
  return fma(x, z * p, x);
}
inline constexpr float kPi = 3.14159265f, kHalfPi = 1.57079633f;

ANNEAL_HD inline float asin(float x) {
  float a = magnitude(x), far = asinSmall(std::sqrt((1.0f - a) * 0.5f));
  return select(a <= 1.0f, withSign(select(a > 0.5f, kHalfPi - 2.0f * far, asinSmall(a)), x), kNaN);
}
ANNEAL_HD inline float acos(float x) {
  float a = magnitude(x), far = 2.0f * asinSmall(std::sqrt((1.0f - a) * 0.5f));
  float near = (kHalfPi - asinSmall(x)) + -4.37113883e-08f;  // what rounding took from pi/2
  float y = select(a > 0.5f, select(x < 0.0f, kPi - far, far), near);
  return select(a <= 1.0f, y, kNaN);
}

/// atan(x) for 0 <= x <= 1.
ANNEAL_HD inline float atanSmall(float x) {
  float z = x * x, p = -1.827184689e-03f;
  p = fma(p, z, 1.106431520e-02f);
  p = fma(p, z, -3.145546944e-02f);
  p = fma(p, z, 5.823432041e-02f);
  p = fma(p, z, -8.419445985e-02f);
  p = fma(p, z, 1.095757186e-01f);
  p = fma(p, z, -1.426524460e-01f);
  p = fma(p, z, 1.999863855e-01f);
  p = fma(p, z, -3.333330186e-01f);
  return fma(x, z * p, x);
}
ANNEAL_HD inline float atan(float x) {
  float a = magnitude(x);
  bool far = a > 1.0f;
  float y = atanSmall(select(far, 1.0f / a, a));
  return select(x != x, x, withSign(select(far, kHalfPi - y, y), x));
}
ANNEAL_HD inline float atan2(float y, float x) {
  float a = magnitude(x), b = magnitude(y);
  bool steep = b > a;
  float small = steep ? a : b, large = steep ? b : a;
  float ratio = small / large;
  ratio = select(small == large, select(large == 0.0f, 0.0f, 1.0f), ratio);  // also infinity / infinity
  float t = atanSmall(ratio);
  t = select(steep, kHalfPi - t, t);
  t = select(std::bit_cast<int32_t>(x) < 0, kPi - t, t);
  return select((x != x) | (y != y), kNaN, withSign(t, y));
}

}  // namespace anneal::scalar::fast
