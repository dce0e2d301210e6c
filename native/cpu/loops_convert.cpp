#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/loops_convert.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <array>

#include "cpu/convert.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

template <class From, class To>
void convertAs(const void* in, int64_t inStride, void* out, int64_t outStride, int64_t n) {
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
