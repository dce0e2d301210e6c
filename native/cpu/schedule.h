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

/// [0, n) in parts for threads to take: `step` long at first, and `last` long over the last quarter or the last two
/// parts of each thread, so that all threads end at about the same time. Parts begin at multiples of `last`, which
/// divides `step`.
class Tapered {
 public:
  Tapered(int64_t n, int64_t step, int64_t last)
      : n_(n), step_(step), last_(last), long_(std::max(n * 3 / 4, n - 2 * threads() * step) / step) {}
  int64_t count() const { return long_ + ceilDiv(n_ - long_ * step_, last_); }
  int64_t begin(int64_t i) const { return i < long_ ? i * step_ : std::min(n_, long_ * step_ + (i - long_) * last_); }
  int64_t size(int64_t i) const { return begin(i + 1) - begin(i); }

 private:
  int64_t n_, step_, last_, long_;
};

}  // namespace anneal::cpu
