// The products by our own kernels.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/gemm_own.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/gemm_deep-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

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
    if (g.m <= own::kMostDots && g.bRow == 1 && (g.aColumn == 1 || g.k == 1)) return dotProducts<T>(g);
    if (g.m == 1 && g.bColumn == 1) return rowProduct<T>(g);
  }
  if constexpr (std::is_same_v<T, S>) {
    if (g.m * g.n * g.k <= own::kDirect) return direct(g);
    if (const Deep<T> deep(g); deep.takes()) return deep.run();
  }
  Blocked<T, S>::multiplyAll(g);
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
                   Result<T>{c + batches.offset(cBatch, i), ldc, T(g.alpha), beta, bias}, g.then});
  };
  int64_t work = g.m * g.n * g.k;
  if (batches.count < 2 * threads() && work > own::kDirect) {
    for (int64_t i = 0; i < batches.count; ++i) one(i);
    return;
  }
  int64_t chunk = std::max<int64_t>(1, own::kDirect / std::max<int64_t>(work, 1));
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

/// In the type of C.
template <class T, class S = T>
void plain(const Gemm& g) {
  products<T, S>(g, static_cast<T*>(g.c), g.cBatch, g.ldc, static_cast<const T*>(g.bias), T(g.beta));
}

template <class S>
void halves(const Gemm& g) {
  if (g.wide) plain<float, S>(g);
  else widened<float, S>(g);
}

bool isFastAt(DType dtype) { return HWY_TARGET <= HWY_AVX2 && (dtype == DType::Float32 || dtype == DType::Float64); }

void gemmAt(const Gemm& g) {
  switch (g.dtype) {
    case DType::Float32: return plain<float>(g);
    case DType::Float64: return plain<double>(g);
    case DType::Float16: return halves<Half>(g);
    case DType::BFloat16: return halves<BFloat16>(g);
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
HWY_EXPORT(isFastAt);
void gemm(const Gemm& g) { HWY_DYNAMIC_DISPATCH(gemmAt)(g); }
bool takesBlocks(const Gemm& g) {
  return g.batch.product() == 1 && g.m > kMostDots && g.n > 1 && g.k <= kDeepest && g.m * g.n * g.k > kDirect;
}
bool isFast(DType dtype) { return HWY_DYNAMIC_DISPATCH(isFastAt)(dtype); }
}  // namespace anneal::cpu::own
#endif
