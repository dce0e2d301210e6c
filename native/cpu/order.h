#pragma once
#include <cstdint>
#include <cstring>

#include "core/dtype.h"

namespace anneal::cpu {

/// Unsigned integers in the order of the values they stand for: both zeros are the same, NaN is the largest. Of the
/// result's bits only the lowest 8 * sizeof(T) are used.
ANNEAL_HD inline uint32_t orderOf(float v) {
  const uint32_t bits = asBits(v == 0 ? 0.0f : v);
  return v == v ? bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u) : 0xffffffffu;
}
ANNEAL_HD inline uint64_t orderOf(double v) {
  const double positive = v == 0 ? 0.0 : v;
  uint64_t bits;
  std::memcpy(&bits, &positive, 8);
  return v == v ? bits ^ (bits >> 63 ? ~uint64_t(0) : uint64_t(1) << 63) : ~uint64_t(0);
}
ANNEAL_HD inline uint64_t orderOf(int64_t v) { return uint64_t(v) ^ uint64_t(1) << 63; }
ANNEAL_HD inline uint32_t orderOf(int32_t v) { return uint32_t(v) ^ 0x80000000u; }
ANNEAL_HD inline uint32_t orderOf(int8_t v) { return uint32_t(uint8_t(v)) ^ 0x80u; }
ANNEAL_HD inline uint32_t orderOf(uint8_t v) { return v; }
ANNEAL_HD inline uint32_t orderOf(bool v) { return v; }
/// A 16-bit float with the magnitude that infinity has.
ANNEAL_HD inline uint32_t orderOf16(uint32_t bits, uint32_t infinity) {
  const uint32_t magnitude = bits & 0x7fffu, positive = magnitude == 0 ? 0 : bits;
  return magnitude > infinity ? 0xffffu : positive ^ (positive >> 15 ? 0xffffu : 0x8000u);
}
ANNEAL_HD inline uint32_t orderOf(Half v) { return orderOf16(v.bits, 0x7c00u); }
ANNEAL_HD inline uint32_t orderOf(BFloat16 v) { return orderOf16(v.bits, 0x7f80u); }

}  // namespace anneal::cpu
