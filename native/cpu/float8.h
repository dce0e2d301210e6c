#pragma once
#include <limits>

#include "core/dtype.h"
#include "core/portable.h"
#include "runtime/task.h"

namespace anneal::cpu {

// The 8-bit float e4m3: 4 bits of exponent, 3 of mantissa, no infinities (Micikevicius et al., "FP8 Formats for Deep
// Learning", 2022).
constexpr float kLargestFloat8 = 448;

/// The nearest e4m3, ties to even; what is too large becomes the largest, NaN stays.
ANNEAL_HD inline uint8_t toFloat8(float f) {
  const uint32_t bits = asBits(f), sign = (bits >> 24) & 0x80u, magnitude = bits & 0x7fffffffu;
  // Adding 2^14 aligns a subnormal's mantissa so that the addition itself rounds to nearest even.
  const uint32_t subnormal = asBits(asFloat(magnitude) + 16384.0f) - 0x46800000u;
  const uint32_t normal = ((magnitude + 0x7ffffu + ((magnitude >> 20) & 1u)) >> 20) - (120u << 3);
  const uint32_t special = magnitude > 0x7f800000u ? 0x7fu : 0x7eu;
  const uint32_t float8 = magnitude >= 0x43e00000u ? special : (magnitude < 0x3c800000u ? subnormal : normal);
  return uint8_t(sign | float8);
}
ANNEAL_HD inline float fromFloat8(uint8_t b) {
  const uint32_t sign = uint32_t(b & 0x80u) << 24, rest = b & 0x7fu;
  // Scaling by 2^120 rebiases the exponent and normalises subnormals.
  return asFloat(sign | (rest == 0x7fu ? 0x7fc00000u : asBits(asFloat(rest << 20) * 0x1p120f)));
}

/// What a tensor is multiplied by before it is rounded, if `largest` is the largest magnitude in it.
ANNEAL_HD inline float float8Factor(float largest) {
  const float factor = largest > 0 ? kLargestFloat8 / largest : 1.0f;
  const float most = std::numeric_limits<float>::max();
  return factor < most ? factor : most;
}

/// out = x wᵀ + bias of x and w as e4m3, each scaled by its factor; sums in float32. All are contiguous floats of one
/// dtype; the bias may not be `defined`.
void linearFp8(const View& x, const View& weight, const View& bias, const View& out);

}  // namespace anneal::cpu
