#include "ops/arithmetic.h"

#include "ops/creation.h"
#include "ops/elementwise.h"

namespace anneal::ops {

const Op<None> add = mapOp<scalar::Add>({.name = "add",
                                         .doc = "The sum `a + b`.",
                                         .inputs = {"a", "b"},
                                         .vjp = [](const Vjp<None>& v) { return Tensors{v.grad(), v.grad()}; }});

const Op<None> sub = mapOp<scalar::Sub>({.name = "sub",
                                         .doc = "The difference `a - b`.",
                                         .inputs = {"a", "b"},
                                         .vjp = [](const Vjp<None>& v) {
                                           return Tensors{v.grad(), v.need(1) ? neg(v.grad()) : Tensor()};
                                         }});

const Op<None> mul = mapOp<scalar::Mul>({.name = "mul",
                                         .doc = "The product `a * b`, element by element.",
                                         .inputs = {"a", "b"},
                                         .vjp =
                                             [](const Vjp<None>& v) {
                                               return Tensors{v.need(0) ? mul(v.grad(), v.in(1)) : Tensor(),
                                                              v.need(1) ? mul(v.grad(), v.in(0)) : Tensor()};
                                             },
                                         .saves = kSaveInputs});

const Op<None> div = mapOp<scalar::Div>({.name = "div",
                                         .doc = "The quotient `a / b`; integers become float32 first.",
                                         .inputs = {"a", "b"},
                                         .vjp =
                                             [](const Vjp<None>& v) {
                                               Tensor ga = div(v.grad(), v.in(1));
                                               return Tensors{ga, v.need(1) ? neg(mul(ga, v.out())) : Tensor()};
                                             },
                                         .saves = {.inputs = {1}, .outputs = {0}}});

const Op<None> neg = mapOp<scalar::Neg>({.name = "neg",
                                         .doc = "The negative of `x`.",
                                         .inputs = {"x"},
                                         .vjp = [](const Vjp<None>& v) { return Tensors{neg(v.grad())}; }});

const Op<None> exp = mapOp<scalar::Exp>({.name = "exp",
                                         .doc = "The exponential of `x`.",
                                         .inputs = {"x"},
                                         .vjp = [](const Vjp<None>& v) { return Tensors{mul(v.grad(), v.out())}; },
                                         .saves = {.outputs = {0}}});

const Op<None> log = mapOp<scalar::Log>({.name = "log",
                                         .doc = "The natural logarithm of `x`.",
                                         .inputs = {"x"},
                                         .vjp = [](const Vjp<None>& v) { return Tensors{div(v.grad(), v.in())}; },
                                         .saves = kSaveInputs});

const Op<None> relu = mapOp<scalar::Relu>(
    {.name = "relu",
     .doc = "The rectified linear unit, `max(x, 0)`.",
     .inputs = {"x"},
     .vjp =
         [](const Vjp<None>& v) {
           return Tensors{mul(v.grad(), greater(v.out(), number(0)))};
         },
     .saves = {.outputs = {0}}});

const Op<None> greater = mapOp<scalar::Greater>({.name = "greater",
                                                 .doc = "Whether `a > b`, element by element.",
                                                 .inputs = {"a", "b"},
                                                 .infer = inferBoolMap<None>,
                                                 .nonDifferentiable = true});

namespace {

void castCpu(const Call<Cast>& call) {
  static const cpu::LoopSet copy = cpu::loops<scalar::Copy>();
  // Computing in the input's own type keeps every value; the engine converts on the way out.
  cpu::mapTiles(copy, nullptr, computeType(call.in[0].dtype), call.in, call.out[0]);
}
const Implement<Cast> castOnCpu("cast", DeviceType::Cpu, castCpu);

}  // namespace

const Op<Cast> cast({.name = "cast",
                     .doc = "`x` as another dtype. Floats become integers by truncation, clamped to the range, NaN to 0; "
                            "integers wrap; anything but 0 is true.",
                     .inputs = {"x"},
                     .attrs = {required<&Cast::dtype>("dtype", "the dtype of the result")},
                     .infer = [](const Args<Cast>& c) { return Specs{{c.in[0].shape(), c.attrs.dtype}}; },
                     .vjp = [](const Vjp<Cast>& v) { return Tensors{cast(v.grad(), {.dtype = v.in().dtype()})}; },
                     .anyStrides = true});

}  // namespace anneal::ops
