#include "ops/logic.h"

#include "ops/elementwise.h"
#include "ops/operators.h"

namespace anneal::ops {
namespace {

template <class F>
Op<None> logicalOp(std::string name, std::string doc, std::vector<std::string> inputs = {"a", "b"}) {
  return testOp<F>({.name = std::move(name), .doc = std::move(doc), .inputs = std::move(inputs)});
}

template <class F>
Op<None> bitsOp(std::string name, std::string doc) {
  return mapOp<F>({.name = std::move(name),
                   .doc = std::move(doc),
                   .inputs = {"a", "b"},
                   .infer = inferIntegerMap<None>,
                   .nonDifferentiable = true});
}

/// Flipping the bits of a bool means negating it.
void bitwiseNotCpu(const Call<None>& call) {
  if (call.out[0].dtype == DType::Bool) cpu::mapKernel<scalar::LogicalNot, None>(call);
  else cpu::mapKernel<scalar::BitwiseNot, None>(call);
}
const Implement<None> bitwiseNotOnCpu("bitwiseNot", DeviceType::Cpu, bitwiseNotCpu);

Specs inferWhere(const Args<None>& c) {
  require(c.in[0].dtype() == DType::Bool, Code::DType, c.op, ": expected a bool condition; got ", c.in[0].dtype(),
          "; compare it with something, as in notEqual(condition, 0)");
  return {{broadcastAll(c.op, c.in), promoted(c.in.subspan(1))}};
}

}  // namespace

const Op<None> logicalNot = logicalOp<scalar::LogicalNot>("logicalNot", "Whether `x` is 0 or false.", {"x"});
const Op<None> logicalAnd = logicalOp<scalar::LogicalAnd>("logicalAnd", "Whether neither `a` nor `b` is 0 or false.");
const Op<None> logicalOr =
    logicalOp<scalar::LogicalOr>("logicalOr", "Whether `a` or `b`, or both, are not 0 or false.");
const Op<None> logicalXor =
    logicalOp<scalar::LogicalXor>("logicalXor", "Whether just one of `a` and `b` is 0 or false.");

const Op<None> isNan = logicalOp<scalar::IsNan>("isNan", "Whether `x` is NaN.", {"x"});
const Op<None> isInf = logicalOp<scalar::IsInf>("isInf", "Whether `x` is an infinity.", {"x"});
const Op<None> isFinite = logicalOp<scalar::IsFinite>("isFinite", "Whether `x` is neither NaN nor an infinity.", {"x"});

const Op<None> bitwiseNot({.name = "bitwiseNot",
                           .doc = "The bits of integers flipped; bool is negated.",
                           .inputs = {"x"},
                           .infer = inferIntegerMap<None>,
                           .nonDifferentiable = true,
                           .anyStrides = true});
const Op<None> bitwiseAnd =
    bitsOp<scalar::BitwiseAnd>("bitwiseAnd", "The bits set in both `a` and `b`; integers and bool.");
const Op<None> bitwiseOr =
    bitsOp<scalar::BitwiseOr>("bitwiseOr", "The bits set in `a`, `b` or both; integers and bool.");
const Op<None> bitwiseXor =
    bitsOp<scalar::BitwiseXor>("bitwiseXor", "The bits set in one of `a` and `b`; integers and bool.");
const Op<None> shiftLeft = bitsOp<scalar::ShiftLeft>(
    "shiftLeft",
    "The bits of `a` moved up by `b` places; all are lost when `b` is negative or not below their number.");
const Op<None> shiftRight = bitsOp<scalar::ShiftRight>(
    "shiftRight",
    "The bits of `a` moved down by `b` places, keeping the sign; only the sign stays when `b` is negative or not "
    "below the number of bits.");

const Op<None> where = mapOp<scalar::Where>(
    {.name = "where",
     .doc = "`a` where `condition` (bool) holds, `b` elsewhere; all three are broadcast.",
     .inputs = {"condition", "a", "b"},
     .infer = inferWhere,
     .vjp =
         [](const Vjp<None>& v) {
           const Tensor &c = v.in(0), &g = v.grad(), zero = number(0);
           return Tensors{Tensor(), v.need(1) ? where(c, g, zero) : Tensor(), v.need(2) ? where(c, zero, g) : Tensor()};
         },
     .saves = {.inputs = {0}},
     .method = false});

}  // namespace anneal::ops
