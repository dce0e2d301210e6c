#include <doctest/doctest.h>

#include "ops/arithmetic.h"
#include "ops/creation.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "test/values.h"

using namespace anneal;
using namespace anneal::test;

namespace {

Tensor gradOf(const Tensor& t) { return t.impl()->provenance.leaf->grad; }

}  // namespace

TEST_CASE("backward adds to the leaves, over what was broadcast") {
  const Tensor w = parameterOf({1, 2, 3, 4}, {2, 2}), b = parameterOf({1}, {1});
  const Tensor y = ops::sum(ops::add(ops::matmul(tensorOf({1, 2}, {1, 2}), w), b));
  backward({y}, {}, {.retainGraph = true});
  backward({y}, {}, {});
  CHECK(valuesOf(gradOf(w)) == Floats{2, 2, 4, 4});
  CHECK(valuesOf(gradOf(b)) == Floats{4});
  CHECK_THROWS_WITH_AS(backward({y}, {}, {}), doctest::Contains("retainGraph"), Error);
}

TEST_CASE("gradients have gradients") {
  const Tensor x = parameterOf({3}, {});
  const Tensor cube = ops::mul(ops::mul(x, x), x);
  const Tensor first = gradients({cube}, {}, {x}, {.createGraph = true}).front();
  const Tensor second = gradients({first}, {}, {x}, {}).front();
  CHECK(valueOf(first) == 27);
  CHECK(valueOf(second) == 18);
}

TEST_CASE("a record as deep as a long recurrence is gone through and freed") {
  const Tensor x = parameterOf({1}, {});
  Tensor y = x;
  for (int i = 0; i < 50000; ++i) y = ops::add(y, ops::number(1));
  const Tensor unused = ops::neg(y);
  backward({y}, {}, {});
  CHECK(valueOf(gradOf(x)) == 1);
}

TEST_CASE("a gradient of the caller's own may fail") {
  const Tensor x = parameterOf({1, 2}, {2});
  Tensors out{ops::sum(x.detach())};
  const Tensors in{x};
  recordCustom(in, out, [](const Tensors&) -> Tensors { fail(Code::Value, "mine"); });
  CHECK_THROWS_WITH_AS(backward(out, {}, {}), "mine", Error);
  CHECK(!gradOf(x));
}
