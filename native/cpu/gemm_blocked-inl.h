// Large matrix products, compiled once for each instruction set.
#if defined(ANNEAL_CPU_GEMM_BLOCKED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_GEMM_BLOCKED_INL_H_
#undef ANNEAL_CPU_GEMM_BLOCKED_INL_H_
#else
#define ANNEAL_CPU_GEMM_BLOCKED_INL_H_
#endif

#include "cpu/gemm-inl.h"
#include "cpu/gemm.h"
#include "cpu/schedule.h"
#include "cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

/// A panel of B of this depth leaves room in the first-level cache for the rows of A that it meets. With AVX-512, where
/// it is twice as wide, it comes from the second: on Zen 4 half the depth, which would fit, was up to 5 % slower.
inline constexpr int64_t kDepth = 384;
inline constexpr int64_t kPacked = 4 << 20;  // elements of A and of B packed at a time, which the last level holds
static_assert(kPacked / own::kDeepest >= 1024);
inline constexpr int64_t kBlockRows = 96, kBlockPanels = 12;  // of C: sums and rows of A fit into the second level
inline constexpr int64_t kBlocks = 6;                         // for each thread, where there is enough to do
inline constexpr int64_t kGroup = 4, kGroupDepth = 16;        // panels packed side by side where lines lie across them

/// One product in type T, read from storage type S.
template <class T, class S>
struct Product {
  int64_t m, n, k;
  const S* a;
  int64_t aRow, aColumn;
  const S* b;
  int64_t bRow, bColumn;
  Result<T> out;
  const BlockWork* then = nullptr;
};

/// The product by blocks of C, each a task that goes through the whole depth. B is packed before, as is A unless its
/// rows can be read where they are. A thread takes the next block when it is done with one: where a processor is slower
/// than the others for a while, as on shared machines, equal parts would wait for it (BERT-base at 8 x 128 took 1.2
/// times as long).
template <class T, class S>
class Blocked {
 public:
  explicit Blocked(Product<T, S> g)
      : g_(g),
        inPlace_(std::is_same_v<T, S> && g.aColumn == 1 && !crowds<T>(g.aRow)),
        step_(ceilDiv(g.k, ceilDiv(g.k, kDepth))),
        height_(inPlace_ ? g.m : extent(g.m, kRows)),
        width_(extent(g.n, N)) {}

  /// A deep product goes on where another has ended, so that what is packed is bounded. Then `then` must not be there.
  static void multiplyAll(Product<T, S> g) {
    const int64_t all = g.k;
    for (int64_t p = 0; p < all; p += own::kDeepest) {
      g.k = std::min(own::kDeepest, all - p);
      Blocked(g).run();
      g.a += g.k * g.aColumn;
      g.b += g.k * g.bRow;
      g.out.beta = 1;
      g.out.bias = nullptr;
    }
  }

 private:
  void run() {
    if (!inPlace_) a_ = workspace<T>(Purpose::PackedA, size_t(height_ * g_.k));
    b_ = workspace<T>(Purpose::PackedB, size_t(width_ * g_.k));
    for (int64_t j = 0; j < g_.n; j += width_) {
      for (int64_t i = 0; i < g_.m; i += height_) {
        const Part part{i, j, std::min(height_, g_.m - i), std::min(width_, g_.n - j)};
        pack(part);
        multiply(part);
      }
    }
  }

  static constexpr int N = kColumns<T>;

  /// Rows and columns of C that are computed at a time.
  struct Part {
    int64_t row, column, rows, columns;
  };

  /// How much of a side of C is packed at a time.
  int64_t extent(int64_t size, int unit) const { return ceilDiv(std::min(size, kPacked / g_.k), unit) * unit; }

  void pack(const Part& part) const {
    const bool newA = !inPlace_ && (part.column == 0 || height_ < g_.m);
    const int64_t ofB = part.row == 0 ? ceilDiv(part.columns, kGroup * N) : 0;
    const int64_t ofA = newA ? ceilDiv(part.rows, kGroup * kRows) : 0;
    parallelTasks(ofB + ofA, [&](int64_t task) {
      if (task < ofB) {
        const int64_t first = task * kGroup * N, count = std::min(kGroup * N, part.columns - first);
        packGroup<N>(g_.b + (part.column + first) * g_.bColumn, g_.bRow, g_.bColumn, count, b_ + first * g_.k);
      } else {
        const int64_t first = (task - ofB) * kGroup * kRows, count = std::min(kGroup * kRows, part.rows - first);
        packGroup<kRows>(g_.a + (part.row + first) * g_.aRow, g_.aColumn, g_.aRow, count, a_ + first * g_.k);
      }
    });
  }

  /// `count` elements, `across` apart, of each of the k groups that are `along` apart, as panels of W.
  template <int W>
  void packGroup(const S* from, int64_t along, int64_t across, int64_t count, T* to) const {
    const int64_t depth = across == 1 ? kGroupDepth : g_.k;
    for (int64_t p = 0; p < g_.k; p += depth)
      for (int64_t t = 0; t < count; t += W)
        packPanel<W>(from + t * across + p * along, along, across, std::min(depth, g_.k - p),
                     std::min<int64_t>(W, count - t), to + t * g_.k + p * W);
  }

  /// Blocks small enough for every thread to get some.
  void multiply(const Part& part) const {
    const int64_t all = ceilDiv(part.columns, N);
    int64_t rows = std::min(kBlockRows, part.rows), panels = std::min(kBlockPanels, all);
    while (ceilDiv(part.rows, rows) * ceilDiv(all, panels) < kBlocks * threads() && (rows > kRows || panels > 1)) {
      if (panels == 1 || (rows > kRows && rows > panels * N)) rows = ceilDiv(rows, 2);
      else panels = ceilDiv(panels, 2);
    }
    rows = ceilDiv(rows, kRows) * kRows;
    panels = ceilDiv(all, ceilDiv(all, panels));
    const int64_t across = ceilDiv(all, panels);
    const Tapered bands(part.rows, rows, rows % (4 * kRows) ? rows : rows / 4);
    parallelTasks(bands.count() * across, [&](int64_t task) {
      const int64_t i = task / across, j = task % across * panels * N;
      block(part, {bands.begin(i), j, bands.size(i), std::min(panels * N, part.columns - j)});
    });
  }

  /// Rows and columns of a block count from those of the part.
  void block(const Part& part, const Part& block) const {
    const bool aside = step_ < g_.k || g_.then;
    T* sums = aside ? workspace<T>(Purpose::Partial, size_t(kBlockRows * kBlockPanels * N)) : nullptr;
    const int64_t row = part.row + block.row, column = part.column + block.column;
    for (int64_t p = 0; p < g_.k; p += step_) {
      const int64_t depth = std::min(step_, g_.k - p);
      Result<T> out{.c = sums, .ldc = block.columns};
      if (p + depth == g_.k) {
        out = g_.out.at(row, column);
        if (g_.then) out.c = sums, out.ldc = block.columns;
      }
      if (p > 0) out.partial = sums, out.ldp = block.columns;
      for (int64_t j = 0; j < block.columns; j += N) panel(block, row, j, p, depth, out.at(0, j));
    }
    if (g_.then) g_.then->apply(sums, row, block.rows, column, block.columns);
  }

  void panel(const Part& block, int64_t row, int64_t j, int64_t p, int64_t depth, const Result<T>& out) const {
    const T* b = b_ + (block.column + j) * g_.k + p * N;
    const int64_t columns = std::min<int64_t>(N, block.columns - j);
    const bool last = j + N >= block.columns;
    // What is packed lies in the last level: waiting for it took 4 to 7 % of a large product's time.
    const Fetch next = fetchPanel(last ? b_ + block.column * g_.k + (p + depth) * N : b + N * g_.k, block.rows);
    if constexpr (std::is_same_v<T, S>) {
      if (inPlace_)
        return rowsByPanel<T>(block.rows, depth, g_.a + row * g_.aRow + p, g_.aRow, 1, b, N, columns, out, next);
    }
    panelsByPanel<T>(block.rows, depth, a_ + block.row * g_.k + p * kRows, kRows * g_.k, b, columns, out, next);
  }

  const Product<T, S> g_;
  bool inPlace_;
  int64_t step_, height_, width_;
  T *a_ = nullptr, *b_ = nullptr;
};

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
