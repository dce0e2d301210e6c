#include "ops/comparison.h"

#include "ops/elementwise.h"
#include "ops/operators.h"
#include "ops/reduce.h"

namespace anneal::ops {
namespace {

template <class F>
Op<None> compareOp(std::string name, const std::string& sign) {
  return testOp<F>(
      {.name = std::move(name), .doc = "Whether `a " + sign + " b`, element by element.", .inputs = {"a", "b"}});
}

std::vector<Field> closenessFields() {
  return {field<&Closeness::rtol>("rtol", "the tolerance relative to `b`"),
          field<&Closeness::atol>("atol", "the absolute tolerance"),
          field<&Closeness::equalNan>("equalNan", "whether NaN is close to NaN")};
}

}  // namespace

const Op<None> equal = compareOp<scalar::Equal>("equal", "==");
const Op<None> notEqual = compareOp<scalar::NotEqual>("notEqual", "!=");
const Op<None> less = compareOp<scalar::Less>("less", "<");
const Op<None> lessEqual = compareOp<scalar::LessEqual>("lessEqual", "<=");
const Op<None> greater = compareOp<scalar::Greater>("greater", ">");
const Op<None> greaterEqual = compareOp<scalar::GreaterEqual>("greaterEqual", ">=");

const Op<Closeness> isClose =
    testOp<scalar::IsClose, Closeness>({.name = "isClose",
                                        .doc = "Whether `|a - b| <= atol + rtol * |b|`, element by element.",
                                        .inputs = {"a", "b"},
                                        .attrs = closenessFields()});

const Op<Closeness> allClose(
    {.name = "allClose",
     .doc = "Whether every element of `a` is close to that of `b`, as one bool; see `isClose`.",
     .inputs = {"a", "b"},
     .attrs = closenessFields(),
     .lower =
         [](const Args<Closeness>& c) {
           Tensor close = isClose(c.in[0], c.in[1], c.attrs);
           return Tensors{equal(sum(close), number(double(close.size())))};
         },
     .nonDifferentiable = true});

}  // namespace anneal::ops
