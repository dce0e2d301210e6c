#pragma once
// Powers, remainders and functions of probability of float as loops over them vectorise; see floatmath.h.
#include "cpu/floatmath.h"

namespace anneal::scalar::fast {

/// log2(x) in double for positive x, subnormals included; +-1e300 for infinity and 0.
ANNEAL_HD inline double preciseLog2(float x) {
  constexpr uint32_t root = 0x3fe6a09e;  // the upper half of sqrt(1/2)
  auto bits = std::bit_cast<uint64_t>(double(x));
  int32_t e = int32_t(uint32_t(bits >> 32) - root) >> 20;
  auto m = std::bit_cast<double>(bits - (uint64_t(uint32_t(e)) << 52));
  double s = (m - 1.0) / (m + 1.0), z = s * s, p = 0.3407400309846;
  p = fma(p, z, 0.4116721315766);
  p = fma(p, z, 0.5770835958320);
  p = fma(p, z, 0.9617966732775);
  p = fma(p, z, 2.885390081790);
  double y = fma(s, p, double(e));
  y = x == 0.0f ? -1e300 : y;
  return x == kInfinity ? 1e300 : y;
}

ANNEAL_HD inline float within(float x, float most) { return select(x > most, most, select(x < -most, -most, x)); }

/// a^b as 2^(b log2 |a|), the exponent in double.
ANNEAL_HD inline float pow(float a, float b) {
  constexpr double shift = 0x1.8p52;
  double y = double(within(b, 1e30f)) * preciseLog2(magnitude(a));
  y = y < -200.0 ? -200.0 : (y > 200.0 ? 200.0 : y);
  double shifted = y + shift;
  auto r = float(y - (shifted - shift));
  auto n = int32_t(uint32_t(std::bit_cast<uint64_t>(shifted)));
  int32_t half = n >> 1;
  float size = exp2Small(r) * power2(half) * power2(n - half);
  // A negative base: the sign of an odd power; NaN for a fraction.
  float limited = within(select(b == b, b, 0.0f), 0x1p30f);
  auto whole = int32_t(limited);
  bool fraction = float(whole) != limited;
  uint32_t sign = std::bit_cast<uint32_t>(a) & (uint32_t(whole) << 31);
  float result = select(fraction, size, withSign(size, std::bit_cast<float>(sign)));
  result = select(fraction & (a < 0.0f) & (a > -kInfinity), kNaN, result);
  result = select((a != a) | (b != b), kNaN, result);
  return select((b == 0.0f) | (a == 1.0f), 1.0f, result);
}

/// Whether fmod below is exact: the quotient fits a double's multiples of b.
ANNEAL_HD inline bool divisible(float a, float b) {
  return (magnitude(a) < 0x1p29f * magnitude(b)) & (magnitude(b) < kInfinity) & (magnitude(b) > 0x1p-90f);
}
/// What is left of a when the quotient is rounded towards 0, with the sign of a.
ANNEAL_HD inline float fmod(float a, float b) {
  constexpr double shift = 0x1.8p52;
  double x = a, y = b, n = x / y + shift - shift;
  double rest = x - n * y;  // by the nearest quotient
  rest += (rest != 0.0) & ((rest < 0.0) != (a < 0.0f)) ? (a < 0.0f ? -std::fabs(y) : std::fabs(y)) : 0.0;
  return withSign(float(rest), a);
}

ANNEAL_HD inline float hypot(float a, float b) {
  double x = a, y = b;
  auto size = float(std::sqrt(x * x + y * y));
  return select((magnitude(a) == kInfinity) | (magnitude(b) == kInfinity), kInfinity, size);
}

/// a P(a) of erf(x) = 1 - exp(-a P(a)) for a = |x|; erf is 1 from 4 on.
ANNEAL_HD inline float erfExponent(float x) {
  float a = magnitude(x);
  a = a > 4.0f ? 4.0f : a;
  float p = -9.271000173160e-06f;
  p = fma(p, a, 1.177782775540e-04f);
  p = fma(p, a, -6.333478088485e-04f);
  p = fma(p, a, 1.668011177010e-03f);
  p = fma(p, a, -1.614440858372e-04f);
  p = fma(p, a, -1.915244935836e-02f);
  p = fma(p, a, 1.027776453576e-01f);
  p = fma(p, a, 6.366194061941e-01f);
  p = fma(p, a, 1.128379170719e+00f);
  return a * p;
}
ANNEAL_HD inline float erf(float x) { return withSign(expm1(-erfExponent(x)), x); }

/// erf(x), tanh(x), and exp(x) up to 1, for what adds numbers like 1 to them: exact to a unit or two in the last place
/// of 1, not of the result. On a GPU that is a third of the work, by its own approximations.
ANNEAL_HD inline float erfBeside1(float x) {
#if defined(__CUDA_ARCH__)
  return withSign(1.0f - nearPower2(-1.44269504f * erfExponent(x)), x);
#else
  return erf(x);
#endif
}
ANNEAL_HD inline float tanhBeside1(float x) {
#if defined(__CUDA_ARCH__)
  return tanhLarge(x);
#else
  return tanh(x);
#endif
}
ANNEAL_HD inline float expBeside1(float x) {
#if defined(__CUDA_ARCH__)
  return nearPower2(1.44269504f * x);
#else
  return exp(x);
#endif
}

/// exp(-a^2) t Q(t) with t = 1 / (1 + a / 3) for a = |x|. The square is taken in two parts: its rounding would matter.
ANNEAL_HD inline float erfc(float x) {
  float a = magnitude(x);
  a = a > 10.2f ? 10.2f : a;
  float t = 1.0f / (1.0f + a * (1.0f / 3.0f)), p = 5.552392766e-02f;
  p = fma(p, t, -2.910889801e-01f);
  p = fma(p, t, 5.332131805e-01f);
  p = fma(p, t, -4.377883281e-01f);
  p = fma(p, t, 4.006592029e-01f);
  p = fma(p, t, -3.722564731e-04f);
  p = fma(p, t, 1.916034094e-01f);
  p = fma(p, t, 1.715410637e-01f);
  p = fma(p, t, 1.886723323e-01f);
  p = fma(p, t, 1.880364461e-01f);
  float head = std::bit_cast<float>(std::bit_cast<uint32_t>(a) & 0xfffff000u);
  float y = exp(-head * head) * exp((head - a) * (head + a)) * (t * p);
  return select(x != x, x, select(x < 0.0f, 2.0f - y, y));
}

/// erfinv(y) for product = (1 - y) (1 + y), by Giles' approximation in single precision ("Approximating the erfinv
/// function", 2012).
ANNEAL_HD inline float erfinvOf(float y, float product) {
  float w = -log(product);
  bool central = w < 5.0f;
  float v = select(central, w - 2.5f, std::sqrt(w) - 3.0f);
  float p = select(central, 2.81022636e-08f, -0.000200214257f);
  p = fma(p, v, select(central, 3.43273939e-07f, 0.000100950558f));
  p = fma(p, v, select(central, -3.5233877e-06f, 0.00134934322f));
  p = fma(p, v, select(central, -4.39150654e-06f, -0.00367342844f));
  p = fma(p, v, select(central, 0.00021858087f, 0.00573950773f));
  p = fma(p, v, select(central, -0.00125372503f, -0.0076224613f));
  p = fma(p, v, select(central, -0.00417768164f, 0.00943887047f));
  p = fma(p, v, select(central, 0.246640727f, 1.00167406f));
  p = fma(p, v, select(central, 1.50140941f, 2.83297682f));
  return p * y;
}
ANNEAL_HD inline float erfinv(float y) {
  return select(magnitude(y) == 1.0f, withSign(kInfinity, y), erfinvOf(y, (1.0f - y) * (1.0f + y)));
}

}  // namespace anneal::scalar::fast
