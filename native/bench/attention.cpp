// Attention's kernels alone, causal, on the heads of a GPT-2 layer: B4 H12 T512 D64.
#include <random>

#include "bench/timing.h"
#include "cpu/attention.h"

using namespace anneal;

namespace {

View viewOf(std::vector<float>& values, const Shape& shape) {
  return {.memory = reinterpret_cast<std::byte*>(values.data()), .shape = shape, .strides = contiguousStrides(shape)};
}

}  // namespace

int main() {
  const Shape shape{4, 12, 512, 64};
  const size_t size = size_t(shape.product());
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  auto values = [&] {
    std::vector<float> out(size);
    for (float& v : out) v = normal(random);
    return out;
  };
  std::vector<float> q = values(), k = values(), v = values(), grad = values(), out(size), dq(size), dk(size), dv(size),
                     sums(size / 64);
  cpu::Attention a{
      .q = viewOf(q, shape), .k = viewOf(k, shape), .v = viewOf(v, shape), .mask = {}, .causal = true, .scale = 0.125f};
  a.mask.defined = false;
  bench::onStream([&] {
    auto times = bench::interleaved(
        30, [&] { cpu::attentionForward(a, out.data(), sums.data()); },
        [&] { cpu::attentionBackward(a, out.data(), sums.data(), grad.data(), dq.data(), dk.data(), dv.data()); });
    std::printf("forward  %7.2f ms, median %7.2f\nbackward %7.2f ms, median %7.2f\n", times[0].best() * 1e3,
                times[0].median() * 1e3, times[1].best() * 1e3, times[1].median() * 1e3);
  });
}
