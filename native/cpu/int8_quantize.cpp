// Ranges of activations, and their levels.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/int8_quantize.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <cfloat>
#include <cmath>

#include "cpu/int8.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

Range rangeOf(const float* x, int64_t n) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  Range range;
  int64_t i = 0;
  auto low = hn::Zero(d), high = low, products = low;
  for (; i + lanes <= n; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    low = hn::Min(low, v);
    high = hn::Max(high, v);
    products = hn::MulAdd(v, hn::Zero(d), products);  // stays NaN once it has met NaN or infinity
  }
  range.low = hn::GetLane(hn::MinOfLanes(d, low));
  range.high = hn::GetLane(hn::MaxOfLanes(d, high));
  range.finite = hn::GetLane(hn::SumOfLanes(d, products)) == 0;
  for (; i < n; ++i) {
    range.low = x[i] < range.low ? x[i] : range.low;
    range.high = x[i] > range.high ? x[i] : range.high;
    range.finite &= std::isfinite(x[i]);
  }
  return range;
}

void quantize(const float* x, int64_t n, const Quantizer& by, uint8_t* to) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<int32_t, decltype(d)> d32;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const auto inverse = hn::Set(d, by.inverse);
  const auto zero = hn::Set(d32, by.zero), most = hn::Set(d32, kInt8Levels);
  auto levels = [&](auto v) {
    return hn::DemoteTo(d8, hn::Min(hn::Add(hn::NearestInt(hn::Mul(v, inverse)), zero), most));
  };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(levels(hn::LoadU(d, x + i)), d8, to + i);
  if (i == n) return;
  HWY_ALIGN float rest[HWY_MAX_BYTES / sizeof(float)] = {};
  HWY_ALIGN uint8_t out[HWY_MAX_BYTES];
  std::copy(x + i, x + n, rest);
  hn::StoreU(levels(hn::Load(d, rest)), d8, out);
  std::copy(out, out + (n - i), to + i);
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {

Quantizer Range::quantizer() const {
  if (!finite) return {.scale = NAN};
  const float scale = high / kInt8Levels - low / kInt8Levels;  // halves that cannot overflow
  if (scale < FLT_MIN) return {};
  const float inverse = 1 / scale;
  return {scale, inverse, int32_t(std::nearbyint(-low * inverse))};
}

namespace int8 {
HWY_EXPORT(rangeOf);
HWY_EXPORT(quantize);
Range rangeOf(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(rangeOf)(x, n); }
void quantize(const float* x, int64_t n, const Quantizer& by, uint8_t* to) {
  HWY_DYNAMIC_DISPATCH(quantize)(x, n, by, to);
}
}  // namespace int8
}  // namespace anneal::cpu
#endif
