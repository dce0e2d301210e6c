#pragma once
// What matmul and linear share: from views of tensors to products of matrices.
#include "cpu/gemm.h"
#include "runtime/task.h"

namespace anneal::ops {

/// A tensor as a batch of matrices: the leading axes, then the last two. A vector is one row.
struct Matrices {
  Shape batch;
  Strides batchStrides;
  int64_t rows = 1, columns = 1;
  cpu::Factor factor;

  static Matrices of(const View& v) {
    int rank = v.shape.rank(), lead = std::max(rank - 2, 0);
    Matrices m{.batch = v.shape.slice(0, lead), .batchStrides = v.strides.slice(0, lead)};
    m.columns = v.shape.back();
    m.factor = {v.data(), 0, v.strides.back()};
    if (rank > 1) m.rows = v.shape.back(2), m.factor.row = v.strides.back(2);
    return m;
  }
  Matrices transposed() const {
    Matrices t = *this;
    std::swap(t.rows, t.columns);
    std::swap(t.factor.row, t.factor.column);
    return t;
  }
};

/// The product of two batches of matrices into contiguous memory; where B is the same for neighbours in the batch,
/// their rows are joined into one larger matrix.
inline cpu::Gemm productOf(const Matrices& a, const Matrices& b, const View& out) {
  cpu::Gemm g{.dtype = out.dtype, .m = a.rows, .n = b.columns, .k = a.columns, .a = a.factor, .b = b.factor};
  g.c = out.data();
  g.ldc = g.n;
  g.batch = broadcast("matmul", a.batch, b.batch);
  g.aBatch = broadcastStrides(a.batch, a.batchStrides, g.batch);
  g.bBatch = broadcastStrides(b.batch, b.batchStrides, g.batch);
  while (g.batch.rank()) {
    int last = g.batch.rank() - 1;
    int64_t count = g.batch[last];
    if (g.m == 1) g.a.row = g.aBatch[last];
    if (count != 1 && (g.bBatch[last] != 0 || g.aBatch[last] != g.m * g.a.row)) break;
    if (count != 1) g.m *= count;
    for (Dims* d : {&g.batch, &g.aBatch, &g.bBatch}) d->erase(last);
  }
  g.cBatch = contiguousStrides(g.batch);
  for (int i = 0; i < g.cBatch.rank(); ++i) g.cBatch[i] *= g.m * g.n;
  return g;
}

/// About the scalar operations of products with results `out` and inner size `k`.
inline double productCost(int64_t k, const View& out) { return double(out.size()) * double(std::max<int64_t>(k, 1)); }

}  // namespace anneal::ops
