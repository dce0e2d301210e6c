#include "cpu/parallel.h"

#include <atomic>
#include <thread>

namespace anneal::cpu {
namespace {
std::atomic<int> count{0};
}

int threads() {
  int n = count.load(std::memory_order_relaxed);
  if (n) return n;
  n = omp_get_max_threads();
  count.store(n);
  return n;
}

void setThreads(int n) { count.store(std::max(1, n)); }

}  // namespace anneal::cpu
