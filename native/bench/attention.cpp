// Attention's kernels alone, on the heads of a GPT-2 layer (causal) and of a BERT one, as they lie in their
// projections.
#include <cstdlib>
#include <random>

#include "bench/timing.h"
#include "cpu/attention.h"

using namespace anneal;

namespace {

struct Case {
  int64_t batch, heads, time;
  bool causal;
};
constexpr Case kCases[] = {{4, 12, 512, true}, {16, 12, 128, false}, {1, 12, 128, false}};
constexpr int64_t kDepth = 64;

/// Heads [B, H, T, D] within rows of all heads [B, T, H D].
View viewOf(std::vector<float>& values, const Case& c) {
  const int64_t row = c.heads * kDepth;
  return {.memory = reinterpret_cast<std::byte*>(values.data()),
          .shape = {c.batch, c.heads, c.time, kDepth},
          .strides = {c.time * row, kDepth, row, 1}};
}

void measure(const Case& c) {
  const size_t size = size_t(c.batch * c.heads * c.time * kDepth);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  auto values = [&] {
    std::vector<float> out(size);
    for (float& v : out) v = normal(random);
    return out;
  };
  std::vector<float> q = values(), k = values(), v = values(), grad = values(), out(size), dq(size), dk(size), dv(size),
                     sums(size / kDepth);
  cpu::Attention a{
      .q = viewOf(q, c), .k = viewOf(k, c), .v = viewOf(v, c), .mask = {}, .causal = c.causal, .scale = 0.125f};
  a.mask.defined = false;
  const double product = double(size) * double(c.time) * (c.causal ? 1 : 2);
  bench::onStream([&] {
    auto times = bench::interleaved(
        30, [&] { cpu::attentionForward(a, viewOf(out, c), sums.data()); },
        [&] {
          cpu::attentionBackward(a, viewOf(out, c), sums.data(), viewOf(grad, c), viewOf(dq, c), viewOf(dk, c),
                                 viewOf(dv, c));
        });
    std::printf("B%lld H%lld T%lld%s", (long long)c.batch, (long long)c.heads, (long long)c.time,
                c.causal ? " causal" : "");
    const char* names[] = {"forward", "backward"};
    const int products[] = {2, 5};
    for (size_t i = 0; i < 2; ++i)
      std::printf(" | %s %7.2f ms, median %7.2f, %4.0f GF", names[i], times[i].best() * 1e3, times[i].median() * 1e3,
                  products[i] * product / times[i].best() / 1e9);
    std::printf("\n");
  });
}

}  // namespace

int main() {
  if (const char* threads = std::getenv("BENCH_THREADS")) cpu::setThreads(std::atoi(threads));
  for (const Case& c : kCases) measure(c);
}
