// Convolutions of ResNet-50 for inference: what the own kernels reach on packed weights against oneDNN, which packs
// them anew.
#include <time.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>

#include "bench/timing.h"
#include "cpu/conv_packed.h"
#include "cpu/parallel.h"

using namespace anneal;

namespace {

/// Values that begin with a line of the cache, as tensors do.
struct Values {
  explicit Values(int64_t n, float value = 0) : all(size_t(n) + 16, value) {}
  float* data() {
    void* at = all.data();
    size_t space = all.size() * sizeof(float);
    return static_cast<float*>(std::align(64, 64, at, space));
  }
  std::vector<float> all;
};

struct Case {
  int64_t size, in, out, kernel, stride;
};
constexpr Case kCases[] = {{224, 3, 64, 7, 2},    {56, 64, 64, 1, 1},   {56, 64, 64, 3, 1},   {56, 64, 256, 1, 1},
                           {56, 256, 64, 1, 1},   {56, 128, 128, 3, 2}, {28, 128, 128, 3, 1}, {28, 128, 512, 1, 1},
                           {28, 512, 128, 1, 1},  {28, 256, 256, 3, 2}, {14, 256, 256, 3, 1}, {14, 256, 1024, 1, 1},
                           {14, 1024, 256, 1, 1}, {14, 512, 512, 3, 2}, {7, 512, 512, 3, 1},  {7, 512, 2048, 1, 1},
                           {7, 2048, 512, 1, 1},  {56, 256, 512, 1, 2}};

cpu::ConvShape shapeOf(const Case& c, int64_t batch) {
  const int64_t pad = c.kernel / 2, out = (c.size + 2 * pad - c.kernel) / c.stride + 1;
  return {.batch = batch,
          .inChannels = c.in,
          .outChannels = c.out,
          .groups = 1,
          .in = {1, c.size, c.size},
          .out = {1, out, out},
          .kernel = {1, c.kernel, c.kernel},
          .stride = {1, c.stride, c.stride},
          .dilation = {1, 1, 1},
          .before = {0, pad, pad},
          .after = {0, pad, pad}};
}

void measure(const Case& c, int64_t batch) {
  const cpu::ConvShape s = shapeOf(c, batch);
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  auto values = [&](int64_t n) {
    Values out(n);
    for (float& v : out.all) v = uniform(random);
    return out;
  };
  const bool winograd = cpu::ConvWinograd::takes(s);
  const int64_t size = batch * s.out.product() * s.outChannels;
  Values x = values(batch * s.in.product() * s.inChannels), w = values(s.outChannels * s.depth()),
         bias = values(s.outChannels), y(size), z(size), tiles(cpu::ConvTiles::packedSize(s)),
         transformed(winograd ? cpu::ConvWinograd::packedSize(s) : 0);
  const double flops = 2 * s.work();
  const int repeats = int(std::clamp(3e9 / flops, 5.0, 200.0));
  std::printf("B%-3lld %3lld^2 x %4lld -> %4lld, %lld^2 / %lld ", (long long)batch, (long long)c.size, (long long)c.in,
              (long long)c.out, (long long)c.kernel, (long long)c.stride);
  bench::onStream([&] {
    cpu::ConvOneDnn library{DType::Float32};
    const cpu::Filter filter{w.data(), s.depth(), s.inChannels, 1};
    cpu::ConvTiles::pack(s, filter, tiles.data());
    if (winograd) cpu::ConvWinograd::pack(s, filter, transformed.data());
    auto times = bench::interleaved(
        repeats, [&] { library.inference(s, x.data(), w.data(), bias.data(), false, true, z.data()); },
        [&] {
          cpu::ConvTiles::run(s, x.data(), tiles.data(), {bias.data(), nullptr, true}, y.data());
        },
        [&] {
          if (winograd) cpu::ConvWinograd::run(s, x.data(), transformed.data(), {bias.data(), nullptr, true}, z.data());
        });
    const char* names[] = {"oneDNN", "tiles", "Winograd"};
    for (size_t i = 0; i < (winograd ? 3 : 2); ++i)
      std::printf("| %s %8.1f us %4.0f GF ", names[i], times[i].best() * 1e6, flops / times[i].best() / 1e9);
  });
  double worst = 0;
  for (size_t i = 0; i < size_t(size); ++i) worst = std::max(worst, std::fabs(double(y.data()[i]) - z.data()[i]));
  std::printf("| difference %.1e\n", worst);
}

}  // namespace

int main(int argc, char** argv) {
  if (const char* threads = std::getenv("BENCH_THREADS")) cpu::setThreads(std::atoi(threads));
  for (int64_t batch : {1, 32}) {
    if (argc > 1 && batch != std::atoi(argv[1])) continue;
    for (const Case& c : kCases) measure(c, batch);
  }
}
