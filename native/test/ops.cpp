// Tensors, and operations on them through the dispatcher.
#include <doctest/doctest.h>

#include <cmath>

#include "ops/arithmetic.h"
#include "ops/conv.h"
#include "ops/creation.h"
#include "ops/join.h"
#include "ops/linear.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "test/values.h"

using namespace anneal;
using namespace anneal::test;

TEST_CASE("tensors share memory with their views") {
  const Tensor x = tensorOf({1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor t = ops::transpose(x, {.axisA = 0, .axisB = 1});
  CHECK(t.impl()->storage == x.impl()->storage);
  CHECK(!t.contiguous());
  CHECK(valuesOf(t) == Floats{1, 4, 2, 5, 3, 6});
  CHECK(valuesOf(x.alias({2}, {3}, 2)) == Floats{3, 6});
}

TEST_CASE("shapes broadcast, and views of any strides are read") {
  const Tensor x = tensorOf({1, 2, 3, 4, 5, 6}, {2, 3}), row = tensorOf({10, 20, 30}, {3});
  CHECK(valuesOf(ops::add(x, row)) == Floats{11, 22, 33, 14, 25, 36});
  CHECK(valuesOf(ops::mul(ops::permute(x, {.axes = {1, 0}}), ops::number(2))) == Floats{2, 8, 4, 10, 6, 12});
  CHECK_THROWS_WITH_AS(ops::add(x, tensorOf({1, 2}, {2})), doctest::Contains("[2,3] with [2]"), Error);
}

TEST_CASE("tensors without elements and without axes") {
  const Tensor none = tensorOf({}, {0, 3});
  CHECK(valuesOf(ops::add(none, none)).empty());
  CHECK(valuesOf(ops::sum(none, {.axis = Ints{0}})) == Floats{0, 0, 0});
  CHECK(valuesOf(ops::matmul(tensorOf({}, {2, 0}), tensorOf({}, {0, 2}))) == Floats(4, 0));
  CHECK(std::isnan(valueOf(ops::mean(none))));
}

TEST_CASE("every length up to some vectors, at every offset, is computed to its end") {
  for (int64_t n = 1; n <= 70; ++n) {
    Floats values(size_t(n), 0.5f);
    const Tensor x = tensorOf(values, {n});
    for (int64_t skipped = 0; skipped < std::min<int64_t>(n, 3); ++skipped) {
      const Tensor part = x.alias({n - skipped}, {1}, skipped);
      CHECK(valueOf(ops::sum(part)) == float(n - skipped) / 2);
      CHECK(valuesOf(ops::square(part)).back() == 0.25f);
      CHECK(valuesOf(ops::softmax(part)).back() == doctest::Approx(1 / double(n - skipped)));
      CHECK(valueOf(ops::matmul(part, part)) == doctest::Approx(float(n - skipped) / 4));
    }
  }
}

TEST_CASE("large products and convolutions run on the stream") {
  const Tensor x = ops::full({65, 33}, 1, DType::Float32), w = ops::full({129, 33}, 2, DType::Float32);
  const Tensor image = ops::full({2, 17, 17, 5}, 1, DType::Float32),
               filter = ops::full({7, 3, 3, 5}, 1, DType::Float32);
  const Tensor product = ops::linear(x, w), convolved = ops::conv2d(image, filter);
  CHECK(valuesOf(product) == Floats(65 * 129, 66));
  CHECK(convolved.shape() == Shape{2, 15, 15, 7});
  CHECK(valuesOf(convolved) == Floats(size_t(convolved.size()), 45));
}
