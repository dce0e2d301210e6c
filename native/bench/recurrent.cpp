// Recurrent layers alone, forwards and backwards, beside the products that they are made of.
#include <cstdlib>
#include <random>

#include "bench/timing.h"
#include "cpu/gemm.h"
#include "cpu/recurrent.h"

using namespace anneal;

namespace {

struct Case {
  const char* name;
  cpu::Cell cell;
  int64_t batch, steps, units;
};
constexpr Case kCases[] = {{"LSTM", cpu::Cell::Lstm, 64, 64, 512},
                           {"GRU", cpu::Cell::Gru, 64, 64, 512},
                           {"LSTM", cpu::Cell::Lstm, 32, 50, 128},
                           {"LSTM", cpu::Cell::Lstm, 1, 100, 256}};

void measure(const Case& c) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-0.04f, 0.04f);
  auto values = [&](int64_t n) {
    std::vector<float> out(static_cast<size_t>(n));
    for (float& v : out) v = uniform(random);
    return out;
  };
  const int64_t rows = cpu::weightRows(c.cell) * c.units, slots = cpu::gateSlots(c.cell) * c.units,
                all = c.batch * c.steps, state = c.batch * c.units;
  auto x = values(all * c.units), ih = values(rows * c.units), hh = values(rows * c.units), bias = values(rows),
       y = values(all * c.units), gates = values(all * slots), cells = values(all * c.units), h = values(state),
       cell = values(state), gradY = values(all * c.units), gradGates = values(all * slots),
       previous = values(all * c.units), gradH = values(state), gradC = values(state);
  cpu::RecurrenceForward f;
  f.cell = c.cell, f.batch = c.batch, f.steps = c.steps, f.inputs = f.units = c.units;
  f.x = x.data(), f.weightIh = ih.data(), f.weightHh = hh.data(), f.biasIh = bias.data(), f.biasHh = bias.data();
  f.y = y.data(), f.gates = gates.data(), f.cells = cells.data(), f.h = h.data(), f.c = cell.data();
  cpu::RecurrenceBackward b;
  static_cast<cpu::Recurrence&>(b) = f;
  b.gradY = gradY.data(), b.gradGates = gradGates.data(), b.previous = previous.data();
  b.gradH0 = gradH.data(), b.gradC0 = gradC.data();
  const double product = 2.0 * double(all) * double(rows) * double(c.units);
  bench::onStream([&] {
    auto times = bench::interleaved(
        int(std::clamp(4e10 / product, 5.0, 100.0)),
        [&] {
          cpu::gemm({.m = all,
                     .n = rows,
                     .k = c.units,
                     .a = {x.data(), c.units, 1},
                     .b = {ih.data(), 1, c.units},
                     .c = gates.data(),
                     .ldc = slots});
        },
        [&] { cpu::recurrence(f); }, [&] { cpu::recurrenceBackward(b); });
    std::printf("%s N%lld T%lld C%lld", c.name, (long long)c.batch, (long long)c.steps, (long long)c.units);
    const char* names[] = {"inputs", "forward", "backward"};
    const int products[] = {1, 2, 1};
    for (size_t i = 0; i < 3; ++i)
      std::printf(" | %s %8.2f ms, median %8.2f, %4.0f GF", names[i], times[i].best() * 1e3, times[i].median() * 1e3,
                  products[i] * product / times[i].best() / 1e9);
    std::printf("\n");
  });
}

}  // namespace

int main() {
  if (const char* threads = std::getenv("BENCH_THREADS")) cpu::setThreads(std::atoi(threads));
  for (const Case& c : kCases) measure(c);
}
