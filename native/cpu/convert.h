#pragma once
#include <cmath>
#include <limits>
#include <type_traits>

#include "core/dtype.h"
#include "core/portable.h"

namespace anneal::cpu {

/// One value from a storage type to another. Floats become integers by truncation, clamped to the range of int64, or of
/// int32 for what is not wider, NaN to 0; integers wrap; anything but 0 is true.
template <class To, class From>
ANNEAL_HD inline To convertTo(From v) {
  if constexpr (std::is_same_v<To, From>) return v;
  else if constexpr (std::is_same_v<From, Half> || std::is_same_v<From, BFloat16>) return convertTo<To>(toFloat(v));
  else if constexpr (std::is_same_v<To, Half>) return toHalf(float(v));
  else if constexpr (std::is_same_v<To, BFloat16>) return toBFloat16(float(v));
  else if constexpr (std::is_same_v<To, bool>) return v != From(0);
  else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // Small integers pass through int32, as PyTorch's do, so that 300.0 wraps to 44 as uint8.
    using Wide = std::conditional_t<(sizeof(To) < 4), int32_t, To>;
    constexpr From low = From(std::numeric_limits<Wide>::min()), high = -low;
    const From inside = v >= low && v < high ? v : From(0);
    return v >= high ? To(std::numeric_limits<Wide>::max())
                     : (v < low ? To(std::numeric_limits<Wide>::min()) : To(Wide(inside)));
  } else return To(v);
}

template <class From, class To>
inline void convertStrided(const From* in, int64_t inStride, To* out, int64_t outStride, int64_t n) {
  if (inStride == 1 && outStride == 1) {
    for (int64_t i = 0; i < n; ++i) out[i] = convertTo<To>(in[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i * outStride] = convertTo<To>(in[i * inStride]);
  }
}

/// Converts n elements between storage types; strides are in elements.
using Convert = void (*)(const void* in, int64_t inStride, void* out, int64_t outStride, int64_t n);

/// The conversion from one dtype to another, for the processor this runs on.
Convert converter(DType from, DType to);

}  // namespace anneal::cpu
