#include "instructions.h"

#include <cstdio>
#include <cstdlib>

#include "ptx/machine.h"

namespace {

using namespace anneal::emulate::ptx;

int failures = 0;

void expect(bool right, const char* what) {
  if (!right) std::printf("%s: not as the PTX ISA has it\n", what);
  failures += !right;
}

const float kNan = std::nanf("");

void checkBits() {
  expect(prmt(0x03020100u, 0x07060504u, 0x7531u) == 0x07050301u, "prmt");
  expect(prmt(0x80u, 0u, 0x0008u) == 0x808080ffu, "prmt of a sign");
  expect(bfi(0x3u, 0xf0f0u, 4, 8) == 0xf030u, "bfi");
  expect(bfi(uint64_t(1), uint64_t(5), 32, 32) == 0x100000005u, "bfi.b64");
  expect(shl(1u, 32) == 0 && shl(uint64_t(1), 63) == uint64_t(1) << 63, "shl");
  expect(shr(int32_t(-8), 40) == -1 && shr(0x80000000u, 32) == 0 && shr(int32_t(-8), 1) == -4, "shr");
  uint32_t low = 0, high = 0;
  unpack(uint64_t(0x100000002), low, high);
  uint64_t whole = 0;
  pack(whole, low, high);
  expect(low == 2 && high == 1 && whole == 0x100000002, "mov of parts");
}

void checkIntegers() {
  expect(mul_hi(int32_t(-2), int32_t(3)) == -1 && mul_hi(0xffffffffu, 2u) == 1, "mul.hi");
  expect(mul_wide(int32_t(-2), int32_t(3)) == int64_t(-6), "mul.wide");
  expect(mul_lo(int32_t(0x40000000), int32_t(4)) == 0, "mul.lo");
  bool carry = false;
  expect(add_cc(carry, 0xffffffffu, 1u) == 0 && addc(carry, 0u, 0u) == 1, "addc");
  expect(sub_cc(carry, 0u, 1u) == 0xffffffffu && subc(carry, 5u, 0u) == 4, "subc");
  uint64_t wide = 0;
  set(wide, int8_t(-1));
  expect(wide == ~uint64_t(0), "ld.s8 fills with the sign");
}

void checkFloats() {
  expect(setp_ltu(kNan, 1.0f) && !setp_lt(kNan, 1.0f) && !setp_ne(kNan, 1.0f) && setp_neu(kNan, 1.0f), "setp of NaN");
  expect(min_(kNan, 1.0f) == 1 && max_(1.0f, kNan) == 1, "min and max of NaN");
  expect(copysign(-1.0f, 2.0f) == -2, "copysign");
  expect(fma_rm(1.0f, 1.0f, 0x1p-30f) == 1 && fma_rm(-1.0f, 1.0f, -0x1p-30f) < -1, "fma.rm");
  expect(fma_rz(-1.0f, 1.0f, -0x1p-30f) == -1, "fma.rz");
  expect(uint32_t(std::bit_cast<uint64_t>(rcp_approx_ftz(3.0))) == 0, "rcp.approx.ftz.f64");
  expect(ex2_approx_ftz(-130.0f) == 0 && ex2_approx(-130.0f) > 0, "ex2.approx.ftz");
}

void checkConversions() {
  expect(cvt<int32_t, float, Round::rzi, false>(3e9f) == 0x7fffffff, "cvt of what is too large");
  expect(cvt<uint8_t, float, Round::rzi, false>(-1) == 0, "cvt of what is too small");
  expect(cvt<int32_t, float, Round::rzi, false>(kNan) == 0, "cvt of NaN");
  expect(cvt<int64_t, double, Round::rzi, false>(double(kNan)) == std::numeric_limits<int64_t>::min(),
         "cvt.s64 of NaN");
  expect(cvt<int32_t, float, Round::rni, false>(2.5f) == 2 && cvt<float, float, Round::rmi, false>(-0.5f) == -1,
         "cvt.rni");
  expect(cvt<float, float, Round::none, true>(kNan) == 0 && cvt<float, float, Round::none, true>(2) == 1, "cvt.sat");
  expect(cvt<F16, float, Round::rn, false>(65520).bits == 0x7c00, "cvt.f16 of what is too large");
  expect(cvt<F16, float, Round::rn, false>(kNan).bits == 0x7fff, "cvt.f16 of NaN");
  expect(cvt<BF16, float, Round::rn, false>(1 + 0x1p-8f).bits == 0x3f80, "cvt.bf16 of what lies in the middle");
  expect(cvt_f16x2(1, 2) == 0x3c004000u, "cvt.f16x2");
  expect(toE4M3(0) == 0 && toE4M3(-0.0f) == 0x80 && toE4M3(1) == 0x38 && toE4M3(17) == 0x58, "cvt.e4m3");
  expect(toE4M3(448) == 0x7e && toE4M3(-1000) == 0xfe && toE4M3(kNan) == 0x7f, "cvt.satfinite.e4m3");
  expect(toE4M3(0x1p-9f) == 1 && toE4M3(0x1p-10f) == 0 && toE4M3(1.5f * 0x1p-9f) == 2, "cvt.e4m3 of what is small");
}

}  // namespace

int checkInstructions() {
  checkBits();
  checkIntegers();
  checkFloats();
  checkConversions();
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
