#pragma once
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

#include "runtime/stream_thread.h"

namespace anneal::cpu {

/// The number of threads kernels use; by default the processors that this process may use.
int threads();
void setThreads(int count);

/// While it lives, kernels called from this thread use it alone, libraries included, if `on`: for work that takes no
/// longer than handing it out and waiting for the last thread.
class Serial {
 public:
  explicit Serial(bool on);
  ~Serial();
  Serial(const Serial&) = delete;
  Serial& operator=(const Serial&) = delete;

 private:
  int before_;
};

/// Calls `f(begin, end)` over parts of [0, n), in parallel when there is more than `grain` and this is the stream's
/// thread: entering OpenMP from a second thread would cost a pool of its own. Exceptions of `f` are handed on.
template <class F>
void parallelFor(int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  if (n <= std::max<int64_t>(grain, 1) || threads() == 1 || !onStreamThread() || omp_in_parallel())
    return f(int64_t(0), n);
  std::exception_ptr error;
  // Always the same number of threads: libgomp ends those that a smaller team leaves out, and starts them anew later.
#pragma omp parallel num_threads(threads())
  {
    // The runtime may grant fewer threads than asked for.
    int64_t granted = omp_get_num_threads(), part = omp_get_thread_num();
    int64_t begin = n * part / granted, end = n * (part + 1) / granted;
    try {
      if (begin < end) f(begin, end);
    } catch (...) {
#pragma omp critical
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace anneal::cpu
