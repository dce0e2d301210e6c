#pragma once
#include <string>

#include "cpu/gemm.h"
#include "epilogue.h"
#include "runtime/task.h"

namespace anneal::cuda {

/// Sums of a factor, a matrix, over the inner axis: those of A for the rows of C, or those of B for its columns.
struct FactorSums {
  const View *of = nullptr, *to = nullptr;  // null: none are wanted
  bool right = false;                       // whether the factor is B
};
/// Makes them in a pass of its own.
void sumFactor(const FactorSums& sums);

/// Does the products of a cpu::Gemm whose pointers are of the device: by cuBLASLt where it is there and takes them,
/// else by a kernel of our own. With an epilogue, C has no gaps and beta is 0. cuBLASLt rounds once where it computes
/// both; elsewhere the bits are those of the operations one by one, but for the last places of activations. Either an
/// epilogue or sums of a factor are made with a product, the latter of one product only.
void multiply(const cpu::Gemm& g, const Epilogue& epilogue = {}, const FactorSums& sums = {});

/// Matrices as cuBLASLt knows them, but row-major: op(A) is m x k, op(B) k x n, C m x n.
struct Product {
  DType dtype = DType::Float32;
  bool wide = false;  // of 16-bit floats: C and the bias are of float32; without epilogue
  int64_t m = 0, n = 0, k = 0;
  const void *a = nullptr, *b = nullptr;
  void* c = nullptr;
  int64_t lda = 0, ldb = 0, ldc = 0;
  bool transposeA = false, transposeB = false;
  int64_t batch = 1, strideA = 0, strideB = 0, strideC = 0;  // of matrices that follow each other at equal distances
  double alpha = 1, beta = 0;
  const void* bias = nullptr;  // [n]
  // Where these are given, A and B are of 8 bits (e4m3), to be multiplied by the float32 numbers that lie there.
  const float *scaleA = nullptr, *scaleB = nullptr;
  Epilogue epilogue;
  FactorSums sums;

  DType result() const { return wide ? DType::Float32 : dtype; }
  /// Whether there is more to do than the product.
  bool joined() const { return !epilogue.empty() || sums.to; }
  /// Without its epilogue and sums, into memory from where finish() goes on.
  Product plain() const {
    Product p = *this;
    p.epilogue = {};
    p.sums = {};
    if (epilogue.before) p.c = epilogue.before;
    return p;
  }
  /// What is left to do after plain().
  void finish() const {
    if (sums.to) sumFactor(sums);
    else finishProduct(dtype, plain().c, c, epilogue, batch * m * n);
  }
};

/// Does a product by cuBLASLt; false where the library is not there, does not take it, or is slower with the epilogue
/// or the sums than a pass of its own.
bool multiplyByLibrary(const Product& product);

/// The library's version, or why it cannot be used and what to do.
std::string describeBlas();

}  // namespace anneal::cuda
