#include <doctest/doctest.h>

#include "core/access.h"
#include "ops/arithmetic.h"
#include "ops/creation.h"
#include "ops/indexing.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "test/values.h"

using namespace anneal;
using namespace anneal::test;

namespace {

size_t used() { return device().memory().used; }

/// Work for the stream, so that what follows is queued.
Tensor slowly(int64_t n = 256) {
  Tensor y = ops::full({n, n}, 1 / double(n), DType::Float32);
  for (int i = 0; i < 5; ++i) y = ops::matmul(y, y);
  return y;
}

}  // namespace

TEST_CASE("released blocks are used again, and all are given back") {
  const size_t before = used();
  {
    const Tensor queued = slowly();
    for (int i = 0; i < 3; ++i) ops::add(queued, queued);
    device().synchronize();
    const uint64_t misses = device().memory().misses;
    for (int i = 0; i < 10; ++i) ops::add(queued, queued);
    CHECK(device().memory().misses == misses);
    CHECK(used() > before);
  }
  CHECK(used() == before);
  device().emptyCache();
  CHECK(device().memory().pooled == 0);
}

TEST_CASE("the host does not get a block that queued tasks use") {
  for (int i = 0; i < 20; ++i) {
    Tensor sum;
    {
      const Tensor x = tensorOf(Floats(65536, 1), {256, 256});
      sum = ops::sum(ops::matmul(slowly(), x));
    }
    const Tensor other = tensorOf(Floats(65536, 2), {256, 256});
    CHECK(valueOf(sum) == 65536);
    CHECK(valuesOf(other)[0] == 2);
  }
}

TEST_CASE("memory over the limit is refused, and there is as much as before") {
  const size_t before = used(), limit = device().memory().limit;
  const Tensor x = slowly();
  device().setMemoryLimit(used() + device().memory().pooled + 4096);
  CHECK_THROWS_WITH_AS(ops::full({4000, 1000}, 0, DType::Float32), doctest::Contains("float32[256,256]"), Error);
  device().setMemoryLimit(limit);
  CHECK(valueOf(x) == 1 / 256.0f);
  CHECK(used() == before + x.impl()->storage->capacity);
}

TEST_CASE("a failed task poisons what reads its results, until they are written again") {
  const Tensor x = tensorOf({1, 2, 3}, {3});
  {
    const Tensor bad = ops::indexSelect(x, indicesOf({7}), {.axis = 0});
    const Tensor worse = ops::add(ops::mul(bad, ops::number(2)), x);
    CHECK_THROWS_AS(valuesOf(bad), Error);
    CHECK_THROWS_WITH(valuesOf(worse), doctest::Contains("indexSelect"));
  }
  // These get the blocks of those.
  for (int i = 0; i < 4; ++i) CHECK(valuesOf(ops::add(x, x)) == Floats{2, 4, 6});
  for (int i = 0; i < 4; ++i) CHECK(valuesOf(tensorOf({5}, {1})) == Floats{5});
}

TEST_CASE("an error on the stream is the error of the first task that failed") {
  const Tensor row = ops::indexSelect(slowly(), indicesOf({300}), {.axis = 0});
  const Tensor after = ops::sum(ops::indexSelect(row, indicesOf({1}), {.axis = 0}));
  CHECK_THROWS_WITH(valueOf(after), doctest::Contains("300"));
}

#if defined(__SANITIZE_ADDRESS__)
TEST_CASE("AddressSanitizer knows which bytes of a block hold a tensor") {
  const std::byte* memory = nullptr;
  {
    const Tensor x = tensorOf({1, 2, 3}, {3});
    memory = x.impl()->storage->data;
    CHECK(!__asan_address_is_poisoned(memory + 11));
    CHECK(__asan_address_is_poisoned(memory + 12));
  }
  CHECK(__asan_address_is_poisoned(memory));
}
#endif
