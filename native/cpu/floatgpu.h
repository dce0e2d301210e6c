#pragma once
// What a GPU's own approximations give functions of float: a few instructions where polynomials and divisions take
// dozens, which in 16 bits would bound by arithmetic what is to be bound by memory. Device code only; see floatmath.h.
#if defined(__CUDA_ARCH__)
#include <cstdint>

namespace anneal::scalar::fast {

/// 2^x, 1 / x and 1 / sqrt(x): relative errors of 2^-22, 2^-23 and 2^-22; but for the last, 0 for what is below 2^-126.
__device__ inline float nearPower2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float nearInverse(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float nearInverseRoot(float x) {
  float y;
  asm("rsqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// e^x = 2^f 2^n with n the integer next to x / ln 2, or the last one that a float has: what is left to f makes
/// results of 0, of infinity, and subnormal ones.
__device__ inline float nearExp(float x) {
  constexpr float perPower = 1.44269502f, rest = 1.92596299e-8f;  // 1 / ln 2 in two parts
  constexpr float span = 252.0f, last = 126.0f, whole = 0x1.8p23f;
  const float position = __saturatef(__fmaf_rn(x, perPower / span, 0.5f));  // 0: n = -last, 1: n = last
  const float shifted = __fmaf_rn(position, span, whole + 1.0f);            // n + 127 in the low bits
  const float n = shifted - (whole + 1.0f + last);
  const float f = __fmaf_rn(x, rest, __fmaf_rn(x, perPower, -n));
  return nearPower2(f) * __uint_as_float(__float_as_uint(shifted) << 23);
}

/// For |x| <= 0.55.
__device__ inline float tanhSmall(float x) {
  const float z = x * x;
  float p = 1.72947850e-02f;
  p = __fmaf_rn(p, z, -5.31462021e-02f);
  p = __fmaf_rn(p, z, 1.33284554e-01f);
  p = __fmaf_rn(p, z, -3.33332866e-01f);
  return __fmaf_rn(x, z * p, x);
}
/// Exact to a unit in the last place of 1.
__device__ inline float tanhLarge(float x) {
  return __fmaf_rn(2.0f, nearInverse(1.0f + nearPower2(-2.88539008f * x)), -1.0f);
}

}  // namespace anneal::scalar::fast
#endif
