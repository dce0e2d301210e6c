#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "ops/arithmetic.h"
#include "ops/creation.h"
#include "ops/matmul.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "test/values.h"

using namespace anneal;
using namespace anneal::test;

TEST_CASE("what is queued runs in order, from however many threads") {
  std::vector<int> seen[4];
  std::vector<std::thread> threads;
  for (auto& list : seen) {
    threads.emplace_back([&list] {
      for (int i = 0; i < 1000; ++i) device().enqueue([&list, i] { list.push_back(i); });
      device().synchronize();
    });
  }
  for (auto& t : threads) t.join();
  for (const auto& list : seen) {
    CHECK(list.size() == 1000);
    CHECK(std::is_sorted(list.begin(), list.end()));
  }
}

TEST_CASE("a caller far ahead of the stream waits for it") {
  std::atomic<int> done{0};
  for (int i = 0; i < 200000; ++i) device().enqueue([&] { ++done; });
  CHECK(done > 60000);
  device().synchronize();
  CHECK(done == 200000);
}

TEST_CASE("threads with gradients and generators of their own compute as if alone") {
  auto train = [] {
    Context own{.generator = {.seed = 7}};
    ContextScope scope(own);
    Tensor w = parameterOf(Floats(64 * 64, 0.01f), {64, 64});
    for (int i = 0; i < 30; ++i) {
      const Tensor x = ops::randomNormal(Tensors{}, {.shape = {32, 64}});
      const Tensor loss = ops::mean(ops::square(ops::sub(ops::matmul(x, w), x)));
      const Tensor grad = gradients({loss}, {}, {w}, {}).front();
      w = ops::sub(w.detach(), ops::mul(grad, ops::number(0.5)));
      requireGrad(w);
    }
    return valuesOf(w);
  };
  const Floats alone = train();
  std::vector<Floats> results(4);
  std::vector<std::thread> threads;
  for (Floats& result : results) threads.emplace_back([&] { result = train(); });
  for (auto& t : threads) t.join();
  for (const Floats& result : results) CHECK(result == alone);
}

TEST_CASE("a thread may end while its work is queued") {
  for (int i = 0; i < 20; ++i) {
    std::thread([] {
      const Tensor x = parameterOf(Floats(200 * 200, 1), {200, 200});
      ops::sum(ops::matmul(x, x));
    }).join();
  }
  device().synchronize();
}
