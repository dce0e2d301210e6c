// Products that are much deeper than C is large, compiled once for each instruction set.
#if defined(ANNEAL_CPU_GEMM_DEEP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_GEMM_DEEP_INL_H_
#undef ANNEAL_CPU_GEMM_DEEP_INL_H_
#else
#define ANNEAL_CPU_GEMM_DEEP_INL_H_
#endif

#include "cpu/gemm_blocked-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

/// On this thread, A read in place and B panel by panel: packed if it is not laid out along its rows.
template <class T>
void direct(const Product<T, T>& g) {
  constexpr int N = kColumns<T>;
  T* panel = workspace<T>(Purpose::PackedB, size_t(N * kDepth));
  for (int64_t p = 0; p < g.k; p += kDepth) {
    int64_t depth = std::min(kDepth, g.k - p);
    Result<T> out = g.out;
    if (p > 0) out.beta = 1, out.bias = nullptr;  // the first depth scales C and adds the bias
    for (int64_t j = 0; j < g.n; j += N) {
      int64_t columns = std::min<int64_t>(N, g.n - j);
      const T* b = panel;
      int64_t step = N;
      if (g.bColumn == 1 && columns == N) {
        b = g.b + p * g.bRow + j;
        step = g.bRow;
      } else {
        packPanel<N>(g.b + j * g.bColumn + p * g.bRow, g.bRow, g.bColumn, depth, columns, panel);
      }
      rowsByPanel<T>(g.m, depth, g.a + p * g.aColumn, g.aRow, g.aColumn, b, step, columns, out.at(0, j));
    }
  }
}

/// A^T B, as gradients of weights are, by sums over parts of the depth that are added up at the end. Both factors are
/// read where they lie: for so few rows and columns packing would move more than the product does. The parts depend on
/// shapes alone, so that results do not depend on the number of threads.
template <class T>
class Deep {
 public:
  explicit Deep(const Product<T, T>& g)
      : g_(g),
        depth_(std::max(kDepth, 4 * g.m * g.n / (g.m + g.n))),  // sums are a small part of what is read
        parts_(std::min(g.k / depth_, kMost / (g.m * g.n))) {}

  bool takes() const { return g_.aRow == 1 && g_.bColumn == 1 && !g_.then && parts_ >= kLeastParts; }

  void run() const {
    T* sums = workspace<T>(Purpose::Partial, size_t(parts_ * g_.m * g_.n));
    parallelTasks(parts_, [&](int64_t part) {
      const int64_t begin = g_.k * part / parts_, end = g_.k * (part + 1) / parts_;
      direct<T>({.m = g_.m,
                 .n = g_.n,
                 .k = end - begin,
                 .a = g_.a + begin * g_.aColumn,
                 .aRow = 1,
                 .aColumn = g_.aColumn,
                 .b = g_.b + begin * g_.bRow,
                 .bRow = g_.bRow,
                 .bColumn = 1,
                 .out = {.c = sums + part * g_.m * g_.n, .ldc = g_.n}});
    });
    parallelFor(g_.m, 1 + 16384 / (parts_ * g_.n), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) addUp(sums + i * g_.n, i);
    });
  }

 private:
  static constexpr int64_t kLeastParts = 16, kMost = int64_t(1) << 21;  // elements of sums

  void addUp(T* HWY_RESTRICT row, int64_t i) const {
    for (int64_t part = 1; part < parts_; ++part) {
      const T* HWY_RESTRICT more = row + part * g_.m * g_.n;
      for (int64_t j = 0; j < g_.n; ++j) row[j] += more[j];
    }
    for (int64_t j = 0; j < g_.n; ++j) g_.out.put(i, j, row[j]);
  }

  const Product<T, T>& g_;
  int64_t depth_, parts_;
};

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
