#pragma once
// Instructions of PTX that compute with numbers, by their names: see the PTX ISA on each. A modifier is a part of the
// name (fma.rn.f32 is fma_rn<float>), as far as it changes the result.
#include <algorithm>
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/dtype.h"

namespace anneal::emulate::ptx {

struct F16 {
  uint16_t bits;
};
struct BF16 {
  uint16_t bits;
};

// Comparisons: those that end in u hold for what is not a number.
template <class T>
bool unordered(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return std::isnan(a) || std::isnan(b);
  else return false;
}
#define ANNEAL_COMPARE(name, operation)      \
  template <class T>                         \
  bool setp_##name(T a, T b) {               \
    return a operation b;                    \
  }                                          \
  template <class T>                         \
  bool setp_##name##u(T a, T b) {            \
    return unordered(a, b) || a operation b; \
  }
ANNEAL_COMPARE(eq, ==)
ANNEAL_COMPARE(lt, <)
ANNEAL_COMPARE(le, <=)
ANNEAL_COMPARE(gt, >)
ANNEAL_COMPARE(ge, >=)
#undef ANNEAL_COMPARE
template <class T>
bool setp_ne(T a, T b) {
  return !unordered(a, b) && a != b;
}
template <class T>
bool setp_neu(T a, T b) {
  return a != b;
}
template <class T>
bool setp_nan(T a, T b) {
  return unordered(a, b);
}
template <class T>
bool setp_num(T a, T b) {
  return !unordered(a, b);
}

// Arithmetic. Integers wrap around.
template <class T>
using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
template <class T, class F>
T wrapped(T a, T b, F&& f) {
  if constexpr (std::is_integral_v<T>) return T(f(Bits<T>(a), Bits<T>(b)));
  else return f(a, b);
}
template <class T>
T add_(T a, T b) {
  return wrapped(a, b, [](auto x, auto y) { return x + y; });
}
template <class T>
T sub_(T a, T b) {
  return wrapped(a, b, [](auto x, auto y) { return x - y; });
}
template <class T>
T mul(T a, T b) {
  return wrapped(a, b, [](auto x, auto y) { return x * y; });
}
template <class T>
T add_rn(T a, T b) {
  return a + b;
}
template <class T>
T sub_rn(T a, T b) {
  return a - b;
}
template <class T>
T mul_rn(T a, T b) {
  return a * b;
}
template <class T>
T mul_lo(T a, T b) {
  return mul(a, b);
}
template <class T>
using Wide = std::conditional_t<std::is_signed_v<T>, std::conditional_t<sizeof(T) == 8, __int128, int64_t>,
                                std::conditional_t<sizeof(T) == 8, unsigned __int128, uint64_t>>;
template <class T>
T mul_hi(T a, T b) {
  return T(Wide<T>(a) * Wide<T>(b) >> 8 * sizeof(T));
}
template <class T>
auto mul_wide(T a, T b) {
  using W = std::conditional_t<sizeof(T) == 4, Wide<T>, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>>;
  return W(a) * W(b);
}
template <class T>
T mad_lo(T a, T b, T c) {
  return add_(mul(a, b), c);
}
template <class T, class W>
W mad_wide(T a, T b, W c) {
  return add_(W(mul_wide(a, b)), c);
}
/// Where a number cannot be divided, something.
template <class T>
T div_(T a, T b) {
  if (b == 0) return T(-1);
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return sub_(T(0), a);
  return a / b;
}
template <class T>
T rem(T a, T b) {
  if (b == 0) return a;
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return 0;
  return a % b;
}

// With a carry from one instruction to the next.
template <class T>
T sumWith(bool in, bool& out, T a, T b) {
  const unsigned __int128 sum = (unsigned __int128)(a) + b + in;
  out = (sum >> 8 * sizeof(T) & 1) != 0;
  return T(sum);
}
template <class T>
T add_cc(bool& carry, T a, T b) {
  return sumWith(false, carry, a, b);
}
template <class T>
T addc_cc(bool& carry, T a, T b) {
  return sumWith(carry, carry, a, b);
}
template <class T>
T addc(bool& carry, T a, T b) {
  bool none;
  return sumWith(carry, none, a, b);
}
template <class T>
T lessWith(bool in, bool& out, T a, T b) {
  out = (unsigned __int128)(b) + in > a;
  return T(a - b - in);
}
template <class T>
T sub_cc(bool& carry, T a, T b) {
  return lessWith(false, carry, a, b);
}
template <class T>
T subc_cc(bool& carry, T a, T b) {
  return lessWith(carry, carry, a, b);
}
template <class T>
T subc(bool& carry, T a, T b) {
  bool none;
  return lessWith(carry, none, a, b);
}
template <class T>
T mad_lo_cc(bool& carry, T a, T b, T c) {
  return add_cc(carry, mul_lo(a, b), c);
}
template <class T>
T mad_hi_cc(bool& carry, T a, T b, T c) {
  return add_cc(carry, mul_hi(a, b), c);
}
template <class T>
T madc_lo_cc(bool& carry, T a, T b, T c) {
  return addc_cc(carry, mul_lo(a, b), c);
}
template <class T>
T madc_hi_cc(bool& carry, T a, T b, T c) {
  return addc_cc(carry, mul_hi(a, b), c);
}
template <class T>
T madc_hi(bool& carry, T a, T b, T c) {
  return addc(carry, mul_hi(a, b), c);
}

// Bits.
template <class T>
T and_(T a, T b) {
  return T(a & b);
}
template <class T>
T or_(T a, T b) {
  return T(a | b);
}
template <class T>
T xor_(T a, T b) {
  return T(a ^ b);
}
template <class T>
T not_(T a) {
  if constexpr (std::is_same_v<T, bool>) return !a;
  else return T(~a);
}
template <class T>
T shl(T a, uint32_t by) {
  return by >= 8 * sizeof(T) ? T(0) : T(Bits<T>(a) << by);
}
template <class T>
T shr(T a, uint32_t by) {
  return T(a >> std::min(by, uint32_t(8 * sizeof(T) - 1)) >> (by >= 8 * sizeof(T) ? 1 : 0));
}
template <class T>
T bfi(T a, T b, uint32_t from, uint32_t length) {
  from &= 0xff;
  length &= 0xff;
  const T ones = length >= 8 * sizeof(T) ? T(-1) : T((T(1) << length) - 1), mask = shl(ones, from);
  return T((b & ~mask) | (shl(a, from) & mask));
}
template <class T>
T prmt(T a, T b, T selector) {
  static_assert(sizeof(T) == 4);
  const uint64_t both = uint64_t(b) << 32 | a;
  uint32_t out = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t choice = selector >> 4 * i & 0xf;
    uint32_t byte = uint32_t(both >> (choice & 7) * 8) & 0xff;
    if (choice & 8) byte = byte & 0x80 ? 0xff : 0;
    out |= byte << 8 * i;
  }
  return out;
}

// Functions of floats.
template <class T>
T neg(T a) {
  if constexpr (std::is_integral_v<T>) return sub_(T(0), a);
  else return -a;
}
template <class T>
T abs_(T a) {
  if constexpr (std::is_integral_v<T>) return a < 0 ? neg(a) : a;
  else return std::fabs(a);
}
template <class T>
T min_(T a, T b) {
  if constexpr (std::is_integral_v<T>) return std::min(a, b);
  else return std::fmin(a, b);
}
template <class T>
T max_(T a, T b) {
  if constexpr (std::is_integral_v<T>) return std::max(a, b);
  else return std::fmax(a, b);
}
/// The sign of `a` with what is left of `b`.
template <class T>
T copysign(T a, T b) {
  return std::copysign(b, a);
}
template <class T>
T fma_rn(T a, T b, T c) {
  return std::fma(a, b, c);
}
/// a b + c, rounded as one of fenv.h's modes has it.
float fmaRounded(float a, float b, float c, int mode);
template <class T>
T fma_rm(T a, T b, T c) {
  return fmaRounded(a, b, c, FE_DOWNWARD);
}
template <class T>
T fma_rz(T a, T b, T c) {
  return fmaRounded(a, b, c, FE_TOWARDZERO);
}
template <class T>
T div_rn(T a, T b) {
  return a / b;
}
template <class T>
T div_approx(T a, T b) {
  return a / b;
}
template <class T>
T sqrt_rn(T a) {
  return std::sqrt(a);
}
template <class T>
T rcp_rn(T a) {
  return 1 / a;
}
/// 0 for what is too small to be normal.
template <class T>
T flushed(T a) {
  return std::fpclassify(a) == FP_SUBNORMAL ? std::copysign(T(0), a) : a;
}
/// Of doubles only the upper half is looked at, and made.
template <class T>
T upperHalf(T a) {
  if constexpr (sizeof(T) == 8) return std::bit_cast<T>(std::bit_cast<uint64_t>(a) & 0xffffffff00000000u);
  else return a;
}
template <class T>
T rcp_approx_ftz(T a) {
  return upperHalf(flushed(1 / flushed(upperHalf(a))));
}
template <class T>
T rsqrt_approx_ftz(T a) {
  return upperHalf(flushed(1 / std::sqrt(flushed(upperHalf(a)))));
}
template <class T>
T rsqrt_approx(T a) {
  return 1 / std::sqrt(a);
}
template <class T>
T ex2_approx(T a) {
  return std::exp2(a);
}
template <class T>
T ex2_approx_ftz(T a) {
  return flushed(std::exp2(flushed(a)));
}

// Conversions.
enum class Round { none, rn, rz, rm, rp, rni, rzi, rmi, rpi };
template <Round Way, class T>
T toInteger(T a) {
  if constexpr (Way == Round::rni) return std::nearbyint(a);
  else if constexpr (Way == Round::rmi) return std::floor(a);
  else if constexpr (Way == Round::rpi) return std::ceil(a);
  else return std::trunc(a);
}
/// The nearest that the type has.
template <class To, class From>
To saturated(From a) {
  constexpr To low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
  if (std::isnan(a)) return sizeof(From) == 8 || sizeof(To) == 8 ? To(uint64_t(1) << (8 * sizeof(To) - 1)) : To(0);
  if (a <= From(low)) return low;
  return a >= From(high) ? high : To(a);
}
template <class To, class From, Round Way, bool Saturate>
To cvt(From a) {
  if constexpr (std::is_same_v<From, F16>) return cvt<To, float, Way, Saturate>(toFloat(Half{a.bits}));
  else if constexpr (std::is_same_v<From, BF16>) return cvt<To, float, Way, Saturate>(toFloat(BFloat16{a.bits}));
  else if constexpr (std::is_same_v<To, F16>) return {std::isnan(a) ? uint16_t(0x7fff) : toHalf(a).bits};
  else if constexpr (std::is_same_v<To, BF16>) return {std::isnan(a) ? uint16_t(0x7fff) : toBFloat16(a).bits};
  else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) return saturated<To>(toInteger<Way>(a));
  else if constexpr (std::is_floating_point_v<From> && Saturate) return To(a > 0 ? std::min(a, From(1)) : From(0));
  else if constexpr (std::is_floating_point_v<From> && sizeof(To) == sizeof(From) && Way >= Round::rni)
    return toInteger<Way>(a);
  else {
    static_assert(!Saturate && Way <= Round::rn || std::is_integral_v<To>);
    return To(a);
  }
}
/// Two floats as one register, `low` in its lower half.
inline uint32_t cvt_f16x2(float high, float low) {
  return uint32_t(cvt<F16, float, Round::rn, false>(high).bits) << 16 | cvt<F16, float, Round::rn, false>(low).bits;
}
inline uint32_t cvt_bf16x2(float high, float low) {
  return uint32_t(cvt<BF16, float, Round::rn, false>(high).bits) << 16 | cvt<BF16, float, Round::rn, false>(low).bits;
}
uint8_t toE4M3(float a);
inline uint16_t cvt_e4m3x2(float high, float low) { return uint16_t(toE4M3(high) << 8 | toE4M3(low)); }

}  // namespace anneal::emulate::ptx
