// Matrix products: what an op reaches against oneDNN alone and against our own kernels, for shapes of real models,
// or for one: bench_gemm [ROWS COLUMNS DEPTH [NN | NT | TN | TT]]
#include <cmath>
#include <cstdlib>
#include <random>
#include <string_view>

#include "bench/alone.h"
#include "bench/timing.h"
#include "cpu/gemm.h"

using namespace anneal;

namespace {

struct Case {
  int64_t batch, m, n, k;
  bool transposeA, transposeB;
};
constexpr Case kCases[] = {
    {1, 16, 16, 16, 0, 0},      {1, 32, 32, 32, 0, 0},      {1, 64, 64, 64, 0, 0},       {1, 128, 128, 128, 0, 0},
    {1, 256, 256, 256, 0, 0},   {1, 512, 512, 512, 0, 0},   {1, 1024, 1024, 1024, 0, 0}, {1, 2048, 2048, 2048, 0, 0},
    {1, 2048, 3072, 768, 0, 0}, {1, 2048, 3072, 768, 0, 1}, {1, 768, 3072, 2048, 1, 0},  {1, 128, 512, 784, 0, 1},
    {1, 512, 784, 128, 1, 0},   {1, 128, 784, 512, 0, 0},   {1, 128, 10, 512, 0, 1},     {1, 1, 4096, 4096, 0, 1},
    {1, 1, 4096, 4096, 0, 0},   {1, 4096, 1, 4096, 0, 0},   {1, 32, 1, 64, 0, 1},        {48, 512, 512, 64, 0, 0},
    {48, 512, 512, 64, 0, 1},   {48, 512, 64, 512, 0, 0},   {512, 16, 16, 16, 0, 0}};

void measure(const Case& s) {
  std::vector<float> a(size_t(s.batch * s.m * s.k)), b(size_t(s.batch * s.k * s.n)), c(size_t(s.batch * s.m * s.n)),
      d(c.size());
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (auto* values : {&a, &b})
    for (float& v : *values) v = uniform(random);
  cpu::Gemm g{.m = s.m, .n = s.n, .k = s.k, .c = c.data(), .ldc = s.n, .batch = {s.batch}};
  g.a = s.transposeA ? cpu::Factor{a.data(), 1, s.m} : cpu::Factor{a.data(), s.k, 1};
  g.b = s.transposeB ? cpu::Factor{b.data(), 1, s.k} : cpu::Factor{b.data(), s.n, 1};
  g.aBatch = {s.m * s.k};
  g.bBatch = {s.k * s.n};
  g.cBatch = {s.m * s.n};
  cpu::Gemm toD = g;
  toD.c = d.data();
  double flops = 2.0 * double(s.batch * s.m) * double(s.n * s.k);
  int repeats = int(std::clamp(4e9 / flops, 15.0, 2000.0));
  std::printf("%4lld x [%5lld,%5lld] x [%5lld,%5lld] %c%c ", (long long)s.batch, (long long)s.m, (long long)s.k,
              (long long)s.k, (long long)s.n, s.transposeA ? 'T' : 'N', s.transposeB ? 'T' : 'N');
  auto print = [&](const char* name, const bench::Times& t) {
    std::printf("| %s %9.1f us %4.0f GF, median %9.1f ", name, t.best() * 1e6, flops / t.best() / 1e9,
                t.median() * 1e6);
  };
  bench::onStream([&] {
#ifdef ANNEAL_ONEDNN
    bench::Alone alone(toD);
    auto times = bench::interleaved(
        repeats, [&] { cpu::gemm(g); }, [&] { cpu::own::gemm(g); }, alone);
    print("oneDNN", times[2]);
#else
    auto times = bench::interleaved(
        repeats, [&] { cpu::gemm(g); }, [&] { cpu::own::gemm(g); });
#endif
    print("gemm", times[0]);
    print("own", times[1]);
  });
  double worst = 0;
#ifdef ANNEAL_ONEDNN
  for (size_t i = 0; i < c.size(); ++i) worst = std::max(worst, std::fabs(double(c[i]) - d[i]));
#endif
  std::printf("| difference %.1e\n", worst);
}

}  // namespace

int main(int count, char** given) {
  if (count < 4) {
    for (const Case& s : kCases) measure(s);
    return 0;
  }
  const std::string_view kinds = count > 4 ? given[4] : "NN";
  measure({1, std::atoll(given[1]), std::atoll(given[2]), std::atoll(given[3]), kinds[0] == 'T', kinds[1] == 'T'});
}
