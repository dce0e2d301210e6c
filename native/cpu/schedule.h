#pragma once
#include <atomic>

#include "cpu/parallel.h"

namespace anneal::cpu {

inline int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Calls `f(i)` for i in [0, n), each thread taking the next one when it is done: for parts of unequal work.
template <class F>
void parallelTasks(int64_t n, F&& f) {
  std::atomic<int64_t> next{0};
  parallelFor(std::min<int64_t>(n, threads()), 1, [&](int64_t, int64_t) {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) f(i);
  });
}

}  // namespace anneal::cpu
