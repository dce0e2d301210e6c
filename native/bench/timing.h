#pragma once
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "cpu/parallel.h"
#include "runtime/device.h"

namespace anneal::bench {

/// Runs `f` on the stream's thread, where kernels run, and waits.
template <class F>
void onStream(F&& f) {
  device().enqueue([&] { f(); });
  device().synchronize();
}

/// On one thread its own time counts, which a busy machine leaves alone.
template <class F>
double seconds(F&& f) {
  if (cpu::threads() == 1) {
    auto now = [] {
      timespec t;
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
      return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
    };
    const double start = now();
    f();
    return now() - start;
  }
  auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Times {
  std::vector<double> all;
  double best() const { return *std::min_element(all.begin(), all.end()); }
  double median() const {
    std::vector<double> sorted = all;
    std::nth_element(sorted.begin(), sorted.begin() + long(sorted.size() / 2), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

/// Times the contenders in turn, so that a slow spell of the machine hits all of them.
template <class... F>
std::vector<Times> interleaved(int repeats, F&&... contenders) {
  std::vector<Times> times(sizeof...(F));
  for (int r = 0; r < repeats + 2; ++r) {
    size_t i = 0;
    auto one = [&](auto& f) {
      double t = seconds(f);
      if (r >= 2) times[i].all.push_back(t);
      ++i;
    };
    (one(contenders), ...);
  }
  return times;
}

}  // namespace anneal::bench
