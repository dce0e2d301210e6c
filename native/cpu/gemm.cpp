#include "cpu/gemm.h"

#include "cpu/gemm_library.h"
#include "cpu/parallel.h"

namespace anneal::cpu {
namespace {

/// Multiplications below which our own kernels beat a library's overhead (bench_gemm: 32 x 32 x 32 takes 0.9
/// against 1.5 us), whatever the instruction set.
constexpr int64_t kTiny = 64 * 1024;

/// Multiplications below which one thread is done before others have joined in; on a busy machine, long before.
constexpr int64_t kSerial = 512 * 1024;

constexpr int64_t kGrain = 16384;  // elements of an epilogue

/// Our own kernels are as fast as the libraries' where they were measured, and lose less on shared machines. Many
/// products are shared out whole among the threads, which the libraries do no better (bench_gemm).
bool suitsLibrary(const Gemm& g) {
  return !own::isFast(g.dtype) && onStreamThread() && !omp_in_parallel() && g.m * g.n * g.k > kTiny &&
         (g.batch.product() == 1 || g.batch.product() < 2 * threads());
}

Gemm one(const Gemm& g, int64_t i) {
  Gemm out = g;
  out.batch = {};
  out.then = nullptr;
  int64_t a = 0, b = 0, c = 0;
  for (int axis = g.batch.rank() - 1; axis >= 0; --axis) {
    int64_t at = i % g.batch[axis];
    i /= g.batch[axis];
    a += at * g.aBatch[axis];
    b += at * g.bBatch[axis];
    c += at * g.cBatch[axis];
  }
  int64_t item = int64_t(itemSize(g.dtype));
  out.a.data = static_cast<const std::byte*>(g.a.data) + a * item;
  out.b.data = static_cast<const std::byte*>(g.b.data) + b * item;
  out.c = static_cast<std::byte*>(g.c) + c * int64_t(itemSize(g.result()));
  return out;
}

void products(const Gemm& g, int64_t count) {
  if (!suitsLibrary(g)) return own::gemm(g);
  for (int64_t i = 0; i < count; ++i) {
    Gemm single = one(g, i);
    if (!library::multiply(single)) own::gemm(single);
  }
}

}  // namespace

void gemm(const Gemm& g) {
  int64_t count = g.batch.product();
  if (g.m == 0 || g.n == 0 || count == 0) return;
  Serial serial(g.m * g.n * g.k * count <= kSerial);
  if (own::isNarrow(g)) return own::narrow(g);
  if (g.then && own::isFast(g.dtype) && own::takesBlocks(g)) return own::gemm(g);
  Gemm plain = g;
  plain.then = nullptr;
  products(plain, count);
  if (!g.then) return;
  const int64_t row = g.n * int64_t(itemSize(g.result()));
  parallelFor(count * g.m, 1 + kGrain / g.n, [&](int64_t begin, int64_t end) {
    g.then->apply(static_cast<std::byte*>(g.c) + begin * row, begin, end - begin, 0, g.n);
  });
}

}  // namespace anneal::cpu
