#ifndef ANNEAL_ONEDNN
#include <cblas.h>

#include <limits>

#include "cpu/gemm_library.h"
#include "cpu/parallel.h"

// OpenBLAS has a pool of threads; other implementations of CBLAS lack this function.
extern "C" void openblas_set_num_threads(int) __attribute__((weak));

namespace anneal::cpu::library {
namespace {

struct Layout {
  CBLAS_TRANSPOSE transposed;
  int leading;
};

/// False if the matrix is not laid out along its rows or its columns.
bool layoutOf(const Factor& f, int64_t rows, int64_t columns, Layout& out) {
  if (f.column == 1 && (f.row >= columns || rows == 1)) out = {CblasNoTrans, int(std::max(f.row, columns))};
  else if (f.row == 1 && (f.column >= rows || columns == 1)) out = {CblasTrans, int(std::max(f.column, rows))};
  else return false;
  return true;
}

template <class T>
void strip(const Gemm& g, const Layout& a, const Layout& b, int64_t row, int64_t rows, int64_t column,
           int64_t columns) {
  const T* from = static_cast<const T*>(g.a.data) + row * g.a.row;
  const T* by = static_cast<const T*>(g.b.data) + column * g.b.column;
  T* to = static_cast<T*>(g.c) + row * g.ldc + column;
  T beta = T(g.beta);
  if (g.bias) {
    const T* bias = static_cast<const T*>(g.bias) + column;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) to[i * g.ldc + j] = bias[j] + (beta != 0 ? beta * to[i * g.ldc + j] : T(0));
    beta = 1;
  }
  auto call = [&](auto f) {
    f(CblasRowMajor, a.transposed, b.transposed, int(rows), int(columns), int(g.k), T(g.alpha), from, a.leading, by,
      b.leading, beta, to, int(g.ldc));
  };
  if constexpr (std::is_same_v<T, float>) call(cblas_sgemm);
  else call(cblas_dgemm);
}

/// Each of our threads takes a strip of C, so that the library's own pool stays out of the way.
template <class T>
void strips(const Gemm& g, const Layout& a, const Layout& b) {
  static const bool alone = [] {
    if (openblas_set_num_threads) openblas_set_num_threads(1);
    return true;
  }();
  (void)alone;
  constexpr int64_t kUnit = 16;
  if (g.m >= g.n) {
    parallelFor((g.m + kUnit - 1) / kUnit, 1, [&](int64_t begin, int64_t end) {
      strip<T>(g, a, b, begin * kUnit, std::min(g.m, end * kUnit) - begin * kUnit, 0, g.n);
    });
  } else {
    parallelFor((g.n + kUnit - 1) / kUnit, 1, [&](int64_t begin, int64_t end) {
      strip<T>(g, a, b, 0, g.m, begin * kUnit, std::min(g.n, end * kUnit) - begin * kUnit);
    });
  }
}

}  // namespace

bool multiply(const Gemm& g) {
  if (g.dtype != DType::Float32 && g.dtype != DType::Float64) return false;
  constexpr int64_t most = std::numeric_limits<int>::max();
  Layout a, b;
  if (!layoutOf(g.a, g.m, g.k, a) || !layoutOf(g.b, g.k, g.n, b)) return false;
  for (int64_t size : {g.m, g.n, g.k, g.ldc, g.a.row, g.a.column, g.b.row, g.b.column})
    if (size > most) return false;
  if (g.dtype == DType::Float32) strips<float>(g, a, b);
  else strips<double>(g, a, b);
  return true;
}

}  // namespace anneal::cpu::library
#endif
