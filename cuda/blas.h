#pragma once
#include <string>

#include "cpu/gemm.h"
#include "epilogue.h"

namespace anneal::cuda {

/// Does the products of a cpu::Gemm whose pointers are of the device: by cuBLASLt where it is there and takes them,
/// else by a kernel of our own. With an epilogue, C has no gaps and beta is 0. cuBLASLt rounds once where it computes
/// both; elsewhere the bits are those of the operations one by one, but for the last places of activations.
void multiply(const cpu::Gemm& g, const Epilogue& epilogue = {});

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

  DType result() const { return wide ? DType::Float32 : dtype; }
  /// Without its epilogue, into memory from where finish() goes on.
  Product plain() const {
    Product p = *this;
    p.epilogue = {};
    if (epilogue.before) p.c = epilogue.before;
    return p;
  }
  /// What the epilogue makes of the results of plain().
  void finish() const { finishProduct(dtype, plain().c, c, epilogue, batch * m * n); }
};

/// Does a product by cuBLASLt; false where the library is not there, does not take it, or is slower with the epilogue
/// than a pass of its own.
bool multiplyByLibrary(const Product& product);

/// The library's version, or why it cannot be used and what to do.
std::string describeBlas();

}  // namespace anneal::cuda
