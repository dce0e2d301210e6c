#include "cpu/parallel.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>

namespace anneal::cpu {
namespace {

constexpr int kMostThreads = 1024;  // beyond any machine; OpenMP ends the process where it cannot start as many

std::atomic<int> count{0};
thread_local int limit = 0;

/// Processors that the control group may use on average; infinity without a quota.
double quota() {
  std::string most;
  double period = 0;
  if (std::ifstream("/sys/fs/cgroup/cpu.max") >> most >> period)
    return most == "max" || period <= 0 ? INFINITY : std::atof(most.c_str()) / period;
  double micros = 0;
  if (std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> micros &&
      std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period && micros > 0 && period > 0)
    return micros / period;
  return INFINITY;
}

/// OMP_NUM_THREADS where it is set, or else the processors that this process may use: more threads than those would
/// wait for each other at every barrier.
int defaultThreads() {
  int n = omp_get_max_threads();  // follows the affinity mask
  if (!std::getenv("OMP_NUM_THREADS")) n = int(std::min(double(n), std::ceil(quota())));
  return n;
}

}  // namespace

int threads() {
  if (limit) return limit;
  int n = count.load(std::memory_order_relaxed);
  if (n) return n;
  setThreads(defaultThreads());
  return count.load(std::memory_order_relaxed);
}

void setThreads(int n) { count.store(std::clamp(n, 1, kMostThreads)); }

Serial::Serial(bool on) : before_(limit) {
  if (on) limit = 1;
}
Serial::~Serial() { limit = before_; }

}  // namespace anneal::cpu
