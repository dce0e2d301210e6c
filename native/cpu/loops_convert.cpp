#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/loops_convert.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <array>

#include "cpu/convert.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

/// There is no vector instruction from float to int64, but there is one to int32, which most numbers fit.
void truncated(const float* in, int64_t* out, int64_t n) {
  constexpr int64_t kBlock = 256;
  for (int64_t at = 0; at < n; at += kBlock) {
    const int64_t end = std::min(n, at + kBlock);
    unsigned large = 0;
    for (int64_t i = at; i < end; ++i) large |= unsigned(!(std::abs(in[i]) < 0x1p31f));
    if (large)
      for (int64_t i = at; i < end; ++i) out[i] = convertTo<int64_t>(in[i]);
    else
      for (int64_t i = at; i < end; ++i) out[i] = int32_t(in[i]);
  }
}

template <class From, class To>
void convertAs(const void* in, int64_t inStride, void* out, int64_t outStride, int64_t n) {
  if constexpr (std::is_same_v<From, float> && std::is_same_v<To, int64_t>)
    if (inStride == 1 && outStride == 1) return truncated(static_cast<const From*>(in), static_cast<To*>(out), n);
  convertStrided(static_cast<const From*>(in), inStride, static_cast<To*>(out), outStride, n);
}

template <class From, class... To>
constexpr std::array<Convert, kDTypes> convertsFrom(TypeTag<To>...) {
  return {convertAs<From, To>...};
}
template <class... T>
constexpr std::array<std::array<Convert, kDTypes>, kDTypes> convertsOf(TypeTag<T>... all) {
  return {convertsFrom<T>(all...)...};
}

Convert convertAt(DType from, DType to) {
  // In the order of DType.
  static constexpr auto table =
      convertsOf(TypeTag<float>{}, TypeTag<double>{}, TypeTag<Half>{}, TypeTag<BFloat16>{}, TypeTag<int8_t>{},
                 TypeTag<uint8_t>{}, TypeTag<int32_t>{}, TypeTag<int64_t>{}, TypeTag<bool>{});
  return table[size_t(from)][size_t(to)];
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(convertAt);
Convert converter(DType from, DType to) { return HWY_DYNAMIC_DISPATCH(convertAt)(from, to); }
}  // namespace anneal::cpu
#endif
