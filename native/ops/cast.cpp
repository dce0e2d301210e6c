#include "cpu/elementwise.h"
#include "ops/arithmetic.h"

namespace anneal::ops {
namespace {

void castCpu(const Call<Cast>& call) { cpu::convertTensor(call.in[0], call.out[0]); }
const Implement<Cast> castOnCpu("cast", DeviceType::Cpu, castCpu);

}  // namespace

const Op<Cast> cast(
    {.name = "cast",
     .doc = "`x` as another dtype. Floats become integers by truncation, clamped to the range, NaN to 0; "
            "integers wrap; anything but 0 is true.",
     .inputs = {"x"},
     .attrs = {required<&Cast::dtype>("dtype", "the dtype of the result")},
     .infer =
         [](const Args<Cast>& c) {
           return Specs{{c.in[0].shape(), c.attrs.dtype}};
         },
     .vjp = [](const Vjp<Cast>& v) { return Tensors{cast(v.grad(), {.dtype = v.in().dtype()})}; },
     .anyStrides = true});

}  // namespace anneal::ops
