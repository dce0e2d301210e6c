#pragma once
#include "core/dtype.h"
#include "core/shape.h"
#include "cpu/blocks.h"

namespace anneal::cpu {

/// A matrix that is read: element (i, j) is data[i * row + j * column].
struct Factor {
  const void* data = nullptr;
  int64_t row = 0, column = 1;
};

/// One or many products C = alpha A B + beta C + bias of [m, k] and [k, n], all of one dtype; strides count elements.
/// The rows of C are contiguous. 16-bit floats accumulate in float32, integers wrap.
struct Gemm {
  DType dtype = DType::Float32;
  bool wide = false;  // of 16-bit floats: C and the bias are of float32
  int64_t m = 0, n = 0, k = 0;
  Factor a, b;
  void* c = nullptr;
  int64_t ldc = 0;
  double alpha = 1, beta = 0;  // beta is 0 or 1 for 16-bit floats and small integers
  const void* bias = nullptr;  // [n], added to every row
  Shape batch;                 // the products to do; empty for one
  Strides aBatch, bBatch, cBatch;
  const BlockWork* then = nullptr;  // gets the rows of all products; C, without gaps, is only working memory then

  DType result() const { return wide ? DType::Float32 : dtype; }
};

/// Does the products on all threads, or on this one if it is not the stream's.
void gemm(const Gemm& g);

namespace own {

inline constexpr int64_t kMostDots = 4;        // rows up to which products are inner products
inline constexpr int64_t kDirect = 64 * 1024;  // multiplications up to which one thread packing nothing of A is best
inline constexpr int64_t kDeepest = 4096;      // what is packed of the depth at a time

/// The products by the kernels of this library, whatever the backend. With `then` only if `takesBlocks`.
void gemm(const Gemm& g);

/// Whether the product is one whose results `gemm` can hand on block by block.
bool takesBlocks(const Gemm& g);

/// Whether they are as fast as a library's on this processor, as far as it has been measured: with AVX2 or AVX-512 they
/// are.
bool isFast(DType dtype);

/// Whether `narrow` does this product, and at least as fast as all the others.
bool isNarrow(const Gemm& g);
/// The product of few rows with a B that lies along k, as the weights of a linear layer do.
void narrow(const Gemm& g);

}  // namespace own
}  // namespace anneal::cpu
