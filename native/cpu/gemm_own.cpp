// The products by our own kernels: blocks of A and B are packed by all threads, then tiles of C are shared out.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/gemm_own.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/gemm-inl.h"
#include "cpu/gemm.h"
#include "cpu/schedule.h"
#include "cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

constexpr int64_t kDepth = 256;         // of a packed block: a panel of B then fits into half of the first-level cache
constexpr int64_t kBlock = 4096;        // rows of A and columns of B packed at a time
constexpr int64_t kTileRows = 24 * 6;   // of a task: its part of A fits into the second-level cache
constexpr int64_t kDirect = 64 * 1024;  // multiplications up to which packing A and entering other threads does not pay

/// One product in type T, read from storage type S.
template <class T, class S>
struct Product {
  int64_t m, n, k;
  const S* a;
  int64_t aRow, aColumn;
  const S* b;
  int64_t bRow, bColumn;
  Result<T> out;
};

template <class T, class S>
void packA(const Product<T, S>& g, int64_t row, int64_t depth, int64_t p, int64_t rows, T* to) {
  packPanel<kRows>(g.a + row * g.aRow + p * g.aColumn, g.aColumn, g.aRow, depth, rows, to);
}
template <class T, class S>
void packB(const Product<T, S>& g, int64_t column, int64_t depth, int64_t p, int64_t columns, T* to) {
  packPanel<kColumns<T>>(g.b + column * g.bColumn + p * g.bRow, g.bRow, g.bColumn, depth, columns, to);
}

/// The result of the block of depth `p`: only the first one scales C, only the first one adds the bias.
template <class T>
Result<T> resultOf(Result<T> out, int64_t p) {
  if (p == 0) return out;
  out.beta = 1;
  out.bias = nullptr;
  return out;
}

/// On this thread, A read in place and B panel by panel: packed if it is not laid out along its rows.
template <class T>
void direct(const Product<T, T>& g) {
  constexpr int N = kColumns<T>;
  T* panel = workspace<T>(Purpose::PackedB, size_t(N * kDepth));
  for (int64_t p = 0; p < g.k; p += kDepth) {
    int64_t depth = std::min(kDepth, g.k - p);
    Result<T> out = resultOf(g.out, p);
    for (int64_t j = 0; j < g.n; j += N) {
      int64_t columns = std::min<int64_t>(N, g.n - j);
      const T* b = panel;
      int64_t step = N;
      if (g.bColumn == 1 && columns == N) {
        b = g.b + p * g.bRow + j;
        step = g.bRow;
      } else {
        packB(g, j, depth, p, columns, panel);
      }
      rowsByPanel<T>(g.m, depth, g.a + p * g.aColumn, g.aRow, g.aColumn, b, step, columns, out.at(0, j));
    }
  }
}

/// Tiles of C are tasks: kTileRows by as many columns as leave every thread several tasks.
template <class T>
void multiplyBlock(int64_t rows, int64_t columns, int64_t depth, const T* a, const T* b, const Result<T>& out) {
  constexpr int N = kColumns<T>;
  int64_t rowTasks = ceilDiv(rows, kTileRows), panels = ceilDiv(columns, N);
  int64_t columnTasks = std::clamp<int64_t>(ceilDiv(4 * threads(), rowTasks), 1, panels);
  int64_t width = ceilDiv(panels, columnTasks);
  columnTasks = ceilDiv(panels, width);
  parallelTasks(rowTasks * columnTasks, [&](int64_t task) {
    int64_t row = task / columnTasks * kTileRows, first = task % columnTasks * width;
    int64_t height = std::min(kTileRows, rows - row);
    for (int64_t j = first; j < std::min(first + width, panels); ++j)
      panelsByPanel<T>(height, depth, a + row * depth, b + j * N * depth, std::min<int64_t>(N, columns - j * N),
                       out.at(row, j * N));
  });
}

template <class T, class S>
void blocked(const Product<T, S>& g) {
  constexpr int N = kColumns<T>;
  int64_t depths = ceilDiv(g.k, kDepth), step = ceilDiv(g.k, depths);
  int64_t height = std::min(kBlock / kTileRows * kTileRows, g.m), width = std::min<int64_t>(kBlock, g.n);
  T* a = workspace<T>(Purpose::PackedA, size_t(ceilDiv(height, kRows) * kRows * step));
  T* b = workspace<T>(Purpose::PackedB, size_t(ceilDiv(width, N) * N * step));
  for (int64_t j = 0; j < g.n; j += width) {
    int64_t columns = std::min(width, g.n - j), bPanels = ceilDiv(columns, N);
    for (int64_t p = 0; p < g.k; p += step) {
      int64_t depth = std::min(step, g.k - p);
      for (int64_t i = 0; i < g.m; i += height) {
        int64_t rows = std::min(height, g.m - i), aPanels = ceilDiv(rows, kRows);
        int64_t skipped = i == 0 ? 0 : bPanels;  // B is packed with the first rows
        parallelFor(bPanels - skipped + aPanels, std::max<int64_t>(1, 4096 / depth), [&](int64_t begin, int64_t end) {
          for (int64_t t = begin; t < end; ++t) {
            int64_t panel = t - (bPanels - skipped);
            if (panel < 0) packB(g, j + t * N, depth, p, std::min<int64_t>(N, columns - t * N), b + t * N * depth);
            else
              packA(g, i + panel * kRows, depth, p, std::min<int64_t>(kRows, rows - panel * kRows),
                    a + panel * kRows * depth);
          }
        });
        multiplyBlock<T>(rows, columns, depth, a, b, resultOf(g.out, p).at(i, j));
      }
    }
  }
}

/// Few rows by a B that is contiguous along k: inner products.
template <class T>
void dotProducts(const Product<T, T>& g) {
  int64_t grain = std::max<int64_t>(4, 32768 / (g.k * g.m + 1));
  parallelFor(ceilDiv(g.n, 4), ceilDiv(grain, 4), [&](int64_t begin, int64_t end) {
    int64_t first = begin * 4, last = std::min(end * 4, g.n);
    dots<T>(g.m, last - first, g.k, g.a, g.aRow, g.b + first * g.bColumn, g.bColumn, g.out.at(0, first));
  });
}

/// One row by a B that is contiguous along n: 8 vectors of C at a time, so that whole lines are read.
template <class T>
void rowProduct(const Product<T, T>& g) {
  constexpr int L = kLanes<T>;
  parallelFor(ceilDiv(g.n, 8 * L), std::max<int64_t>(1, 32768 / (g.k * 8 * L + 1)), [&](int64_t begin, int64_t end) {
    int64_t j = begin * 8 * L, last = std::min(end * 8 * L, g.n);
    for (; j + 8 * L <= last; j += 8 * L) tile<T, 1, 8>(g.k, g.a, 0, g.aColumn, g.b + j, g.bRow, 8 * L, g.out.at(0, j));
    Product<T, T> rest = g;
    rest.n = last - j;
    rest.b = g.b + j;
    rest.out = g.out.at(0, j);
    if (rest.n) direct(rest);
  });
}

template <class T, class S>
void product(Product<T, S> g) {
  if (g.k == 0) {
    for (int64_t i = 0; i < g.m; ++i)
      for (int64_t j = 0; j < g.n; ++j) g.out.put(i, j, T(0));
    return;
  }
  if (g.n == 1 && g.m > 1 && g.out.ldc == 1) {  // a column is a row of the transposed product
    std::swap(g.m, g.n);
    std::swap(g.a, g.b);
    std::swap(g.aRow, g.bColumn);
    std::swap(g.aColumn, g.bRow);
    g.out.ldc = g.n;
    g.out.biasStep = 0;
  }
  if constexpr (std::is_same_v<T, S> && std::is_floating_point_v<T>) {
    if (g.m <= 4 && g.bRow == 1 && (g.aColumn == 1 || g.k == 1)) return dotProducts<T>(g);
    if (g.m == 1 && g.bColumn == 1) return rowProduct<T>(g);
  }
  if constexpr (std::is_same_v<T, S>) {
    if (g.m * g.n * g.k <= kDirect) return direct(g);
  }
  blocked(g);
}

/// The number of products and where the i-th one's matrices are.
struct Batches {
  explicit Batches(const Gemm& g) : gemm(g), count(g.batch.product()) {}
  int64_t offset(const Strides& strides, int64_t i) const {
    int64_t at = 0;
    for (int axis = gemm.batch.rank() - 1; axis >= 0; --axis) {
      at += i % gemm.batch[axis] * strides[axis];
      i /= gemm.batch[axis];
    }
    return at;
  }
  const Gemm& gemm;
  int64_t count;
};

/// All products; many small ones are shared out whole.
template <class T, class S>
void products(const Gemm& g, T* c, const Strides& cBatch, int64_t ldc, const T* bias, T beta) {
  Batches batches(g);
  auto one = [&](int64_t i) {
    product<T, S>({g.m, g.n, g.k, static_cast<const S*>(g.a.data) + batches.offset(g.aBatch, i), g.a.row, g.a.column,
                   static_cast<const S*>(g.b.data) + batches.offset(g.bBatch, i), g.b.row, g.b.column,
                   Result<T>{c + batches.offset(cBatch, i), ldc, T(g.alpha), beta, bias, 1}});
  };
  int64_t work = g.m * g.n * g.k;
  if (batches.count < 2 * threads() && work > kDirect) {
    for (int64_t i = 0; i < batches.count; ++i) one(i);
    return;
  }
  int64_t chunk = std::max<int64_t>(1, kDirect / std::max<int64_t>(work, 1));
  parallelTasks(ceilDiv(batches.count, chunk), [&](int64_t task) {
    for (int64_t i = task * chunk; i < std::min(batches.count, (task + 1) * chunk); ++i) one(i);
  });
}

/// In a wider type: the result is converted at the end.
template <class T, class S>
void widened(const Gemm& g) {
  Batches batches(g);
  size_t size = size_t(g.m * g.n);
  T* wide = workspace<T>(Purpose::Result, size * size_t(batches.count));
  T* bias = nullptr;
  if (g.bias) {
    bias = workspace<T>(Purpose::Weights, size_t(g.n));
    convertStrided(static_cast<const S*>(g.bias), 1, bias, 1, g.n);
  }
  auto row = [&](int64_t r) { return static_cast<S*>(g.c) + batches.offset(g.cBatch, r / g.m) + r % g.m * g.ldc; };
  auto eachRow = [&](auto&& f) {
    parallelFor(batches.count * g.m, std::max<int64_t>(1, 16384 / g.n), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) f(row(r), wide + r * g.n);
    });
  };
  if (g.beta != 0) eachRow([&](const S* stored, T* value) { convertStrided(stored, 1, value, 1, g.n); });
  Strides dense = contiguousStrides(g.batch);
  for (int i = 0; i < dense.rank(); ++i) dense[i] *= int64_t(size);
  products<T, S>(g, wide, dense, g.n, bias, T(g.beta));
  eachRow([&](S* stored, const T* value) { convertStrided(value, 1, stored, 1, g.n); });
}

template <class T>
void plain(const Gemm& g) {
  products<T, T>(g, static_cast<T*>(g.c), g.cBatch, g.ldc, static_cast<const T*>(g.bias), T(g.beta));
}

void gemmAt(const Gemm& g) {
  switch (g.dtype) {
    case DType::Float32: return plain<float>(g);
    case DType::Float64: return plain<double>(g);
    case DType::Float16: return widened<float, Half>(g);
    case DType::BFloat16: return widened<float, BFloat16>(g);
    case DType::Int8: return widened<uint32_t, int8_t>(g);
    case DType::UInt8: return widened<uint32_t, uint8_t>(g);
    case DType::Int32: return plain<uint32_t>(g);
    default: return plain<uint64_t>(g);
  }
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu::own {
HWY_EXPORT(gemmAt);
void gemm(const Gemm& g) { HWY_DYNAMIC_DISPATCH(gemmAt)(g); }
}  // namespace anneal::cpu::own
#endif
