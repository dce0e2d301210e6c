#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace anneal::cpu {

/// e^x without branches, so that loops over it vectorise: x is split into n ln 2 + r with |r| <= ln 2 / 2, and e^r is a
/// polynomial. Within 2 units in the last place; subnormal results, 0, infinity and NaN come out as std::exp gives
/// them.
template <class T>
inline T expOf(T x) {
  constexpr bool single = std::is_same_v<T, float>;
  using Bits = std::conditional_t<single, int32_t, int64_t>;
  constexpr int mantissa = single ? 23 : 52, bias = single ? 127 : 1023;
  constexpr T low = single ? T(-104) : T(-746), high = single ? T(89) : T(710);
  constexpr T magic = single ? T(12582912) : T(6755399441055744);  // 1.5 * 2^mantissa: adding it rounds to an integer
  // The logarithm of 2 in two parts, of which the first times n is exact.
  constexpr T ln2High = single ? T(0.693359375) : T(0x1.62e42fefa3800p-1);
  constexpr T ln2Low = single ? T(-2.12194440e-4) : T(0x1.ef35793c76730p-45);
  T clamped = x < low ? low : (x > high ? high : x);
  T shifted = clamped * T(1.4426950408889634) + magic;
  Bits n;
  std::memcpy(&n, &shifted, sizeof(T));
  n = n << (sizeof(T) * 8 - mantissa) >> (sizeof(T) * 8 - mantissa);
  T whole = shifted - magic;
  T r = (clamped - whole * ln2High) - whole * ln2Low;
  T p;
  if constexpr (single) {
    p = T(1.0 / 5040);
  } else {
    p = T(1.0 / 6227020800);
    p = p * r + T(1.0 / 479001600);
    p = p * r + T(1.0 / 39916800);
    p = p * r + T(1.0 / 3628800);
    p = p * r + T(1.0 / 362880);
    p = p * r + T(1.0 / 40320);
    p = p * r + T(1.0 / 5040);
  }
  p = p * r + T(1.0 / 720);
  p = p * r + T(1.0 / 120);
  p = p * r + T(1.0 / 24);
  p = p * r + T(1.0 / 6);
  p = p * r + T(0.5);
  p = p * r + T(1);
  p = p * r + T(1);
  // 2^n in two factors, since it may lie outside of the exponents that a number can have.
  Bits half = n >> 1, a = (half + bias) << mantissa, b = (n - half + bias) << mantissa;
  T scaleA, scaleB;
  std::memcpy(&scaleA, &a, sizeof(T));
  std::memcpy(&scaleB, &b, sizeof(T));
  return x == x ? p * scaleA * scaleB : x;
}

}  // namespace anneal::cpu
