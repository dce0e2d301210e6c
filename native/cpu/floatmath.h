#pragma once
// Elementary functions of float (and e^x of double) without branches or calls, so that loops over them vectorise.
// Relative errors are a few units in the last place; zeros, subnormals, infinities and NaN come out as from <cmath>.
// The polynomials are weighted minimax fits. More of them: floattrig.h, floatspecial.h.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/portable.h"
#include "cpu/floatgpu.h"

namespace anneal::scalar::fast {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
// ln 2 in two parts: multiples of the first are exact for the exponents that occur.
inline constexpr float kLn2High = 0x1.62e4p-1f, kLn2Low = 0x1.7f7d1cp-20f;

/// a b + c. On a GPU that is one instruction, and the only products that are contracted with sums are those written so:
/// an operation gives the same bits in every kernel that it is part of (see cuda/CMakeLists.txt). On a CPU the compiler
/// decides.
ANNEAL_HD inline float fma(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return a * b + c;
#endif
}
ANNEAL_HD inline double fma(double a, double b, double c) {
#if defined(__CUDA_ARCH__)
  return __fma_rn(a, b, c);
#else
  return a * b + c;
#endif
}

/// c ? a : b by masks: of a choice the compiler may make jumps, and a loop with jumps does not vectorise.
ANNEAL_HD inline float select(bool c, float a, float b) {
  uint32_t mask = -uint32_t(c);
  return std::bit_cast<float>((std::bit_cast<uint32_t>(a) & mask) | (std::bit_cast<uint32_t>(b) & ~mask));
}
/// a / b, on a GPU to two units in the last place, and 0 where 1 / b is below 2^-126.
ANNEAL_HD inline float quotient(float a, float b) {
#if defined(__CUDA_ARCH__)
  return a * nearInverse(b);
#else
  return a / b;
#endif
}
ANNEAL_HD inline float magnitude(float x) { return std::bit_cast<float>(std::bit_cast<uint32_t>(x) & 0x7fffffffu); }
ANNEAL_HD inline float withSign(float size, float sign) {
  return std::bit_cast<float>((std::bit_cast<uint32_t>(size) & 0x7fffffffu) |
                              (std::bit_cast<uint32_t>(sign) & 0x80000000u));
}
/// 1 / sqrt(x), on a GPU to two units in the last place.
ANNEAL_HD inline float rsqrt(float x) {
#if defined(__CUDA_ARCH__)
  return nearInverseRoot(x);
#else
  return 1.0f / std::sqrt(x);
#endif
}
/// 2^n for -126 <= n <= 127.
ANNEAL_HD inline float power2(int32_t n) { return std::bit_cast<float>(uint32_t(n + 127) << 23); }

/// x = n ln 2 + r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
struct Reduced {
  float r;
  int32_t n;
};
ANNEAL_HD inline Reduced reduce(float x) {
  constexpr float shift = 0x1.8p23f;
  float shifted = fma(x, 1.44269504f, shift), n = shifted - shift;
  float r = fma(n, -kLn2Low, fma(n, -kLn2High, x));
  return {r, int32_t(std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(shift))};
}

/// exp(r) - 1 for |r| <= ln 2 / 2.
ANNEAL_HD inline float expm1Small(float r) {
  float p = 0.00139506003f;
  p = fma(p, r, 0.008368953708f);
  p = fma(p, r, 0.041666204166f);
  p = fma(p, r, 0.166665183039f);
  p = fma(p, r, 0.500000009569f);
  return fma(r * r, p, r);
}

ANNEAL_HD inline float exp(float x) {
#if defined(__CUDA_ARCH__)
  return nearExp(x);
#else
  float bounded = x < -110.0f ? -110.0f : (x > 100.0f ? 100.0f : x);
  auto [r, n] = reduce(bounded);
  // Two factors, since 2^n alone leaves the range before the result does.
  int32_t half = n >> 1;
  return (1.0f + expm1Small(r)) * power2(half) * power2(n - half);
#endif
}

/// e^x / 2, also where e^x alone overflows.
ANNEAL_HD inline float halfExp(float x) {
  float bounded = x < -110.0f ? -110.0f : (x > 100.0f ? 100.0f : x);
  auto [r, n] = reduce(bounded);
  int32_t half = n >> 1;
  return (1.0f + expm1Small(r)) * power2(half) * power2(n - half - 1);
}

/// The same in double: the remainder's series to the thirteenth power.
ANNEAL_HD inline double exp(double x) {
  constexpr double shift = 0x1.8p52, high = 0x1.62e42fefa3800p-1, low = 0x1.ef35793c76730p-45;  // ln 2
  double bounded = x < -746.0 ? -746.0 : (x > 710.0 ? 710.0 : x);
  double shifted = fma(bounded, 1.4426950408889634, shift), whole = shifted - shift;
  double r = fma(whole, -low, fma(whole, -high, bounded));
  double p = 1.0 / 6227020800;
  p = fma(p, r, 1.0 / 479001600);
  p = fma(p, r, 1.0 / 39916800);
  p = fma(p, r, 1.0 / 3628800);
  p = fma(p, r, 1.0 / 362880);
  p = fma(p, r, 1.0 / 40320);
  p = fma(p, r, 1.0 / 5040);
  p = fma(p, r, 1.0 / 720);
  p = fma(p, r, 1.0 / 120);
  p = fma(p, r, 1.0 / 24);
  p = fma(p, r, 1.0 / 6);
  p = fma(p, r, 0.5);
  p = fma(p, r, 1.0);
  p = fma(p, r, 1.0);
  auto n = int32_t(uint32_t(std::bit_cast<uint64_t>(shifted)));
  int32_t half = n >> 1;
  auto power = [](int32_t k) { return std::bit_cast<double>(uint64_t(uint32_t(k + 1023)) << 52); };
  return p * power(half) * power(n - half);
}

ANNEAL_HD inline float expm1(float x) {
  float bounded = x < -20.0f ? -20.0f : (x > 88.9f ? 88.9f : x);
  auto [r, n] = reduce(bounded);
  float scale = power2(n - 1);
  float y = fma(scale, expm1Small(r), scale - 0.5f) * 2.0f;
  return select(x == 0.0f, x, y);  // keeps -0
}

/// 2^r for |r| <= 1/2.
ANNEAL_HD inline float exp2Small(float r) {
  float p = 1.547604465467e-04f;
  p = fma(p, r, 1.340041671875e-03f);
  p = fma(p, r, 9.618004908283e-03f);
  p = fma(p, r, 5.550327409823e-02f);
  p = fma(p, r, 2.402265133633e-01f);
  p = fma(p, r, 6.931472064427e-01f);
  return fma(r, p, 1.0f);
}
ANNEAL_HD inline float exp2(float x) {
  float bounded = x < -160.0f ? -160.0f : (x > 140.0f ? 140.0f : x);
  constexpr float shift = 0x1.8p23f;
  float shifted = bounded + shift, r = bounded - (shifted - shift);
  auto n = int32_t(std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(shift));
  int32_t half = n >> 1;
  return exp2Small(r) * power2(half) * power2(n - half);
}

/// x = 2^e (1 + f) with f in [sqrt(1/2) - 1, sqrt(2) - 1], and log(1 + f) = f + tail. For positive finite x.
struct Logarithm {
  float e, f, tail;
};
ANNEAL_HD inline Logarithm splitLog(float x) {
  bool tiny = x < 0x1p-126f;
  auto bits = std::bit_cast<uint32_t>(select(tiny, x * 0x1p23f, x));
  uint32_t fromRoot = bits - 0x3f3504f3u;  // exponent field counted from sqrt(1/2)
  auto e = int32_t(fromRoot) >> 23;
  float m = std::bit_cast<float>((fromRoot & 0x007fffffu) + 0x3f3504f3u);
  float f = m - 1.0f;
  float p = -0.078595458687f;
  p = fma(p, f, 0.128816223966f);
  p = fma(p, f, -0.131287676326f);
  p = fma(p, f, 0.141811961134f);
  p = fma(p, f, -0.166245531444f);
  p = fma(p, f, 0.200022860841f);
  p = fma(p, f, -0.25000810428f);
  p = fma(p, f, 0.333333167275f);
  return {float(e) - select(tiny, 23.0f, 0.0f), f, f * f * fma(f, p, -0.5f)};
}
/// `y`, unless x is not positive and finite.
ANNEAL_HD inline float logEdges(float x, float y) {
  y = select(x == kInfinity, x, y);
  y = select(x == 0.0f, -kInfinity, y);
  return select(x >= 0.0f, y, kNaN);
}

ANNEAL_HD inline float log(float x) {
  auto [e, f, tail] = splitLog(x);
  return logEdges(x, fma(e, kLn2High, f + fma(e, kLn2Low, tail)));
}
ANNEAL_HD inline float log2(float x) {
  auto [e, f, tail] = splitLog(x);
  // log2(e) in two parts, the first of few bits, keeps the product with f almost exact.
  constexpr float high = 0x1.714p0f, low = 0x1.47652cp-12f;
  return logEdges(x, e + fma(f, high, fma(f, low, tail * 1.44269504f)));
}
ANNEAL_HD inline float log10(float x) {
  auto [e, f, tail] = splitLog(x);
  constexpr float high = 0x1.344p-2f, low = 0x1.3509f8p-18f;  // log10(2)
  return logEdges(x, e * high + (f * 0.434294482f + (e * low + tail * 0.434294482f)));
}
ANNEAL_HD inline float log1p(float x) {
  float u = 1.0f + x;
  // What rounding lost of x in 1 + x, as a first-order correction.
  float whole = log(u), y = whole - quotient((u - 1.0f) - x, u);
  y = select((u == kInfinity) | (u == 0.0f), whole, y);
  return select(u == 1.0f, x, y);
}

ANNEAL_HD inline float sigmoid(float x) { return quotient(1.0f, 1.0f + exp(-x)); }

ANNEAL_HD inline float tanh(float x) {
#if defined(__CUDA_ARCH__)
  return withSign(select(magnitude(x) <= 0.55f, tanhSmall(x), tanhLarge(x)), x);
#else
  float size = magnitude(x);
  float t = expm1(2.0f * (size > 10.0f ? 10.0f : size));
  return withSign(t / (t + 2.0f), x);
#endif
}

ANNEAL_HD inline float sinh(float x) {
  float size = magnitude(x), e = expm1(size > 9.0f ? 9.0f : size);
  float near = 0.5f * (e + e / (e + 1.0f));
  return select(x != x, x, withSign(select(size > 9.0f, halfExp(size), near), x));
}
ANNEAL_HD inline float cosh(float x) {
  float e = halfExp(magnitude(x));
  return e + 0.25f / e;
}

ANNEAL_HD inline float asinh(float x) {
  float a = magnitude(x), bounded = a > 0x1p30f ? 0x1p30f : a, square = bounded * bounded;
  float near = log1p(bounded + square / (1.0f + std::sqrt(square + 1.0f)));
  return select(x != x, x, withSign(select(a > 0x1p30f, log(a) + 0.693147181f, near), x));
}
ANNEAL_HD inline float acosh(float x) {
  float t = (x > 0x1p30f ? 0x1p30f : x) - 1.0f;
  float y = select(x > 0x1p30f, log(x) + 0.693147181f, log1p(t + std::sqrt(t * (t + 2.0f))));
  return select(x >= 1.0f, y, kNaN);
}
ANNEAL_HD inline float atanh(float x) {
  float a = magnitude(x);
  return select(a <= 1.0f, withSign(0.5f * log1p(2.0f * a / (1.0f - a)), x), kNaN);
}

}  // namespace anneal::scalar::fast
