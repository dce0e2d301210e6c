// Products of few rows by large weights [n, k]: as the transposed product, which reads the weights where they lie.
// Packing them would cost as much as a tenth of the product (128 rows) or half of it (16 rows).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/gemm_narrow.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/gemm-inl.h"
#include "cpu/gemm.h"
#include "cpu/schedule.h"
#include "cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

constexpr int64_t kDepth = 256;  // of a panel of rows, which then fits into half of the first-level cache
constexpr int64_t kStrip = 48, kLastStrip = 12;  // columns of C that make a task
constexpr int64_t kRowsAtOnce = 16;
template <class T>
constexpr int64_t kPanels = 256 / kColumns<T>;  // whose sums of a strip stay in the second-level cache

/// to[i * columns + j] = from[j * stride + i].
template <class T>
void turn(const T* HWY_RESTRICT from, int64_t stride, int64_t rows, int64_t columns, T* HWY_RESTRICT to) {
  int64_t j = 0;
#if HWY_TARGET != HWY_SCALAR
  if constexpr (std::is_same_v<T, float>) {
    if (rows % 4 == 0)
      for (; j + 4 <= columns; j += 4)
        for (int64_t i = 0; i < rows; i += 4) transpose4(from + j * stride + i, stride, to + i * columns + j, columns);
  }
#endif
  for (; j < columns; ++j)
    for (int64_t i = 0; i < rows; ++i) to[i * columns + j] = from[j * stride + i];
}

template <class T>
class Narrow {
 public:
  explicit Narrow(const Gemm& g) : g_(g), step_(ceilDiv(g.k, ceilDiv(g.k, kDepth))), panels_(ceilDiv(g.m, N)) {}

  void run() {
    packed_ = workspace<T>(Purpose::PackedA, size_t(panels_ * N * g_.k));
    parallelFor(panels_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) pack(t);
    });
    const Tapered strips(g_.n, kStrip, kLastStrip);
    parallelTasks(strips.count(), [&](int64_t task) {
      const int64_t column = strips.begin(task), columns = strips.size(task);
      for (int64_t t = 0; t < panels_; t += kPanels<T>) {
        const int64_t panels = std::min(kPanels<T>, panels_ - t);
        T* sums = workspace<T>(Purpose::Result, size_t(columns * panels * N));
        multiply(column, columns, t, panels, sums);
        finish(column, columns, t, panels, sums);
      }
    });
  }

 private:
  static constexpr int N = kColumns<T>;

  /// Rows of A from t * N on, by blocks of depth.
  void pack(int64_t t) const {
    const T* from = static_cast<const T*>(g_.a.data) + t * N * g_.a.row;
    for (int64_t p = 0; p < g_.k; p += step_) {
      const int64_t depth = std::min(step_, g_.k - p);
      packPanel<N>(from + p * g_.a.column, g_.a.column, g_.a.row, depth, std::min<int64_t>(N, g_.m - t * N),
                   packed_ + (p * panels_ + t * depth) * N);
    }
  }

  /// Sums of a strip of C for some panels of rows, transposed: [columns, panels * N].
  void multiply(int64_t column, int64_t columns, int64_t first, int64_t panels, T* sums) const {
    const T* weights = static_cast<const T*>(g_.b.data) + column * g_.b.column;
    for (int64_t p = 0; p < g_.k; p += step_) {
      const int64_t depth = std::min(step_, g_.k - p);
      for (int64_t t = 0; t < panels; ++t) {
        const T* panel = packed_ + (p * panels_ + (first + t) * depth) * N;
        const Result<T> out{.c = sums + t * N, .ldc = panels * N, .beta = p == 0 ? T(0) : T(1)};
        const Fetch next = fetchPanel(panel + depth * N, columns);
        if (g_.m - (first + t) * N > kLanes<T>)
          rowsByPanel<T, 2>(columns, depth, weights + p, g_.b.column, 1, panel, N, N, out, next);
        else rowsByPanel<T, 1>(columns, depth, weights + p, g_.b.column, 1, panel, N, kLanes<T>, out, next);
      }
    }
  }

  /// From there to C, or to what comes after it.
  void finish(int64_t column, int64_t columns, int64_t first, int64_t panels, const T* sums) const {
    HWY_ALIGN T block[kRowsAtOnce * kStrip];
    const int64_t end = std::min(g_.m, (first + panels) * N);
    for (int64_t row = first * N; row < end; row += kRowsAtOnce) {
      const int64_t rows = std::min(kRowsAtOnce, end - row);
      turn(sums + (row - first * N), panels * N, rows, columns, block);
      for (int64_t i = 0; i < rows; ++i) {
        T* c = static_cast<T*>(g_.c) + (row + i) * g_.ldc + column;
        finishRow(block + i * columns, column, columns, c);
        if (!g_.then) std::copy_n(block + i * columns, columns, c);
      }
      if (g_.then) g_.then->apply(block, row, rows, column, columns);
    }
  }

  /// alpha * sums + beta * c + bias, in place.
  void finishRow(T* HWY_RESTRICT sums, int64_t column, int64_t columns, const T* HWY_RESTRICT c) const {
    const T alpha = T(g_.alpha), beta = T(g_.beta);
    if (alpha != T(1))
      for (int64_t j = 0; j < columns; ++j) sums[j] *= alpha;
    if (beta != T(0))
      for (int64_t j = 0; j < columns; ++j) sums[j] += beta * c[j];
    if (g_.bias)
      for (int64_t j = 0; j < columns; ++j) sums[j] += static_cast<const T*>(g_.bias)[column + j];
  }

  const Gemm& g_;
  int64_t step_, panels_;
  T* packed_ = nullptr;
};

void narrowAt(const Gemm& g) {
  if (g.dtype == DType::Float64) Narrow<double>(g).run();
  else Narrow<float>(g).run();
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu::own {
HWY_EXPORT(narrowAt);

bool isNarrow(const Gemm& g) {
  constexpr int64_t kLeastRows = 5, kMostRows = 384, kLeastDepth = 32, kLeastColumns = 256;
  return (g.dtype == DType::Float32 || g.dtype == DType::Float64) && g.batch.product() == 1 && g.b.row == 1 &&
         g.m >= kLeastRows && g.m <= kMostRows && g.k >= kLeastDepth && g.n >= kLeastColumns;
}

void narrow(const Gemm& g) { HWY_DYNAMIC_DISPATCH(narrowAt)(g); }
}  // namespace anneal::cpu::own
#endif
