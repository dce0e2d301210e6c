#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/loops_ternary.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
LoopSet ternaryAt(int index) { return setAt<3>(scalar::Ternary{}, index); }
}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(ternaryAt);
LoopSet ternaryLoops(int index) { return HWY_DYNAMIC_DISPATCH(ternaryAt)(index); }
}  // namespace anneal::cpu
#endif
