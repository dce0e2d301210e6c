#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/loops_binary.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
LoopSet binaryAt(int index) { return setAt<2>(scalar::Binary{}, index); }
}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(binaryAt);
LoopSet binaryLoops(int index) { return HWY_DYNAMIC_DISPATCH(binaryAt)(index); }
}  // namespace anneal::cpu
#endif
