#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/loops_unary.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
LoopSet unaryAt(int index) { return setAt<1>(scalar::Unary{}, index); }
}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(unaryAt);
LoopSet unaryLoops(int index) { return HWY_DYNAMIC_DISPATCH(unaryAt)(index); }
}  // namespace anneal::cpu
#endif
