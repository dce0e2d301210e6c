#pragma once
#include <cstdint>
#include <cstring>
#include <ostream>
#include <string_view>

#include "core/portable.h"

namespace anneal {

enum class DType : uint8_t { Float32, Float64, Float16, BFloat16, Int8, UInt8, Int32, Int64, Bool };
inline constexpr int kDTypes = 9;

std::string_view name(DType dtype);
ANNEAL_HD constexpr size_t itemSize(DType dtype) {
  constexpr uint8_t sizes[kDTypes] = {4, 8, 2, 2, 1, 1, 4, 8, 1};
  return sizes[size_t(dtype)];
}
inline std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name(dtype); }

inline bool isFloat(DType d) { return d <= DType::BFloat16; }
inline bool isInteger(DType d) { return d >= DType::Int8 && d <= DType::Int64; }

/// PyTorch's promotion of two tensors' dtypes. Without an int16, uint8 with int8 gives int32.
DType promote(DType a, DType b);
/// Integers and bool become float32; floats stay.
inline DType toFloat(DType d) { return isFloat(d) ? d : DType::Float32; }
/// The type that kernels compute in: float32 for the 16-bit floats, int32 for the small integers and bool.
inline DType computeType(DType d) {
  if (d == DType::Float16 || d == DType::BFloat16) return DType::Float32;
  if (d == DType::Int8 || d == DType::UInt8 || d == DType::Bool) return DType::Int32;
  return d;
}

/// The integers that an integer dtype or bool holds.
struct IntegerRange {
  int64_t least, greatest;
};
IntegerRange integerRange(DType dtype);
std::ostream& operator<<(std::ostream& out, const IntegerRange& range);

/// IEEE 754 binary16, as storage; arithmetic happens in float.
struct Half {
  uint16_t bits;
};
/// The upper half of a float, as storage.
struct BFloat16 {
  uint16_t bits;
};

// The conversions are branch-free, so that loops over them vectorise; a GPU has instructions for them.
ANNEAL_HD inline float asFloat(uint32_t bits) {
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
ANNEAL_HD inline uint32_t asBits(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return bits;
}
ANNEAL_HD inline float toFloat(BFloat16 b) { return asFloat(uint32_t(b.bits) << 16); }
ANNEAL_HD inline BFloat16 toBFloat16(float f) {
#if defined(__CUDA_ARCH__)
  BFloat16 converted;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(converted.bits) : "f"(f));
  return converted;
#else
  uint32_t bits = asBits(f);
  uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  uint32_t nan = (bits >> 16) | 0x40u;
  return {uint16_t((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded)};
#endif
}
ANNEAL_HD inline float toFloat(Half h) {
#if defined(__CUDA_ARCH__)
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.bits));
  return f;
#else
  uint32_t sign = uint32_t(h.bits & 0x8000u) << 16, rest = uint32_t(h.bits & 0x7fffu) << 13;
  // Scaling by 2^112 rebiases the exponent and normalises subnormals; infinity and NaN keep all exponent bits.
  uint32_t magnitude = asBits(asFloat(rest) * 0x1p112f);
  return asFloat(sign | (h.bits & 0x7fffu ? ((h.bits & 0x7c00u) == 0x7c00u ? rest | 0x7f800000u : magnitude) : 0u));
#endif
}
ANNEAL_HD inline Half toHalf(float f) {
#if defined(__CUDA_ARCH__)
  Half converted;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(converted.bits) : "f"(f));
  return converted;
#else
  uint32_t bits = asBits(f), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  // Adding 0.5 aligns a subnormal's mantissa so that the addition itself rounds to nearest even.
  uint32_t subnormal = asBits(asFloat(magnitude) + 0.5f) - 0x3f000000u;
  uint32_t normal = (magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u)) >> 13;
  uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  uint32_t half = magnitude >= 0x47800000u ? special : (magnitude < 0x38800000u ? subnormal : normal);
  return {uint16_t(sign | half)};
#endif
}

template <class T>
struct TypeTag {
  using type = T;
};

/// Calls `f(TypeTag<T>{})` with the storage type of `dtype` (Bool is bool).
template <class F>
decltype(auto) visitType(DType dtype, F&& f) {
  switch (dtype) {
    case DType::Float32: return f(TypeTag<float>{});
    case DType::Float64: return f(TypeTag<double>{});
    case DType::Float16: return f(TypeTag<Half>{});
    case DType::BFloat16: return f(TypeTag<BFloat16>{});
    case DType::Int8: return f(TypeTag<int8_t>{});
    case DType::UInt8: return f(TypeTag<uint8_t>{});
    case DType::Int32: return f(TypeTag<int32_t>{});
    case DType::Int64: return f(TypeTag<int64_t>{});
    default: return f(TypeTag<bool>{});
  }
}

/// Like visitType, over the four types that kernels compute in.
template <class F>
decltype(auto) visitCompute(DType dtype, F&& f) {
  switch (computeType(dtype)) {
    case DType::Float32: return f(TypeTag<float>{});
    case DType::Float64: return f(TypeTag<double>{});
    case DType::Int64: return f(TypeTag<int64_t>{});
    default: return f(TypeTag<int32_t>{});
  }
}

}  // namespace anneal
