#include "cpu/elementwise.h"
#include "ops/arithmetic.h"

namespace anneal::ops {
namespace {

void castCpu(const Call<Cast>& call) { cpu::convertTensor(call.in[0], call.out[0]); }
const Implement<Cast> castOnCpu("cast", DeviceType::Cpu, castCpu);

}  // namespace

const Op<Cast> cast(
    {.name = "cast",
     .doc = "`x` as another dtype. Floats become integers by truncation, clamped to the range of int64, or of "
            "int32 for what is not wider; NaN becomes 0. Integers wrap in a dtype that does not hold them, so that 300 "
            "and 300.5 are 44 as uint8; anything but 0 is true.",
     .inputs = {"x"},
     .attrs = {required<&Cast::dtype>("dtype", "the dtype of the result")},
     .infer =
         [](const Args<Cast>& c) {
           return Specs{{c.in[0].shape(), c.attrs.dtype}};
         },
     .vjp = [](const Vjp<Cast>& v) { return Tensors{cast(v.grad(), {.dtype = v.in().dtype()})}; },
     .anyStrides = true});

}  // namespace anneal::ops
