// Convolutions of ResNet-50: what the own kernels reach against oneDNN, for inference (on packed weights; oneDNN packs
// them anew) and for the gradient of the weights. bench_conv [BATCH [inference | weights]]
#include <time.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

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

Values randomValues(int64_t n) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  Values out(n);
  for (float& v : out.all) v = uniform(random);
  return out;
}

double difference(Values& a, Values& b) {
  double worst = 0;
  for (size_t i = 0; i < a.all.size() - 16; ++i) worst = std::max(worst, std::fabs(double(a.data()[i]) - b.data()[i]));
  return worst;
}

template <size_t Count>
void report(const Case& c, int64_t batch, double work, const std::array<const char*, Count>& names,
            const std::vector<bench::Times>& times, double difference) {
  std::printf("B%-3lld %3lld^2 x %4lld -> %4lld, %lld^2 / %lld ", (long long)batch, (long long)c.size, (long long)c.in,
              (long long)c.out, (long long)c.kernel, (long long)c.stride);
  for (size_t i = 0; i < Count; ++i)
    if (names[i])
      std::printf("| %s %8.1f us %4.0f GF ", names[i], times[i].best() * 1e6, 2e-9 * work / times[i].best());
  std::printf("| difference %.1e\n", difference);
}

int repeatsFor(double work) { return int(std::clamp(1.5e9 / work, 5.0, 200.0)); }

void measureInference(const Case& c, int64_t batch) {
  const cpu::ConvShape s = shapeOf(c, batch);
  const bool winograd = cpu::ConvWinograd::takes(s);
  const int64_t size = batch * s.out.product() * s.outChannels;
  Values x = randomValues(batch * s.in.product() * s.inChannels), w = randomValues(s.outChannels * s.depth()),
         bias = randomValues(s.outChannels), y(size), z(size), tiles(cpu::ConvTiles::packedSize(s)),
         transformed(winograd ? cpu::ConvWinograd::packedSize(s) : 0);
  bench::onStream([&] {
    cpu::ConvOneDnn library{DType::Float32};
    const cpu::Filter filter{w.data(), s.depth(), s.inChannels, 1};
    const cpu::ConvEnd end{bias.data(), nullptr, true};
    cpu::ConvTiles::pack(s, filter, tiles.data());
    if (winograd) cpu::ConvWinograd::pack(s, filter, transformed.data());
    auto times = bench::interleaved(
        repeatsFor(s.work()), [&] { library.inference(s, x.data(), w.data(), bias.data(), false, true, z.data()); },
        [&] { cpu::ConvTiles::run(s, x.data(), tiles.data(), end, y.data()); },
        [&] {
          if (winograd) cpu::ConvWinograd::run(s, x.data(), transformed.data(), end, z.data());
        });
    report<3>(c, batch, s.work(), {"oneDNN", "tiles", winograd ? "Winograd" : nullptr}, times, difference(y, z));
  });
}

void measureWeights(const Case& c, int64_t batch) {
  const cpu::ConvShape s = shapeOf(c, batch);
  const bool winograd = cpu::ConvWinograd::takesWeights(s);
  const int64_t size = s.outChannels * s.depth();
  Values x = randomValues(batch * s.in.product() * s.inChannels),
         grad = randomValues(batch * s.out.product() * s.outChannels), y(size), z(size);
  bench::onStream([&] {
    cpu::ConvOneDnn library{DType::Float32};
    auto times = bench::interleaved(
        repeatsFor(s.work()), [&] { library.weights(s, x.data(), grad.data(), z.data()); },
        [&] { cpu::ConvGemm<float>::weights(s, x.data(), grad.data(), y.data()); },
        [&] {
          if (winograd) cpu::ConvWinograd::weights(s, x.data(), grad.data(), z.data());
        });
    report<3>(c, batch, s.work(), {"oneDNN", "products", winograd ? "Winograd" : nullptr}, times, difference(y, z));
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (const char* threads = std::getenv("BENCH_THREADS")) cpu::setThreads(std::atoi(threads));
  for (int64_t batch : {1, 32}) {
    if (argc > 1 && batch != std::atoi(argv[1])) continue;
    for (const Case& c : kCases) {
      if (argc <= 2 || std::string(argv[2]) == "inference") measureInference(c, batch);
      if (argc <= 2 || std::string(argv[2]) == "weights") measureWeights(c, batch);
    }
  }
}
