#pragma once
#include <string>

#include "cpu/gemm.h"

namespace anneal::cuda {

/// Does the products of a cpu::Gemm whose pointers are of the device: by cuBLASLt where it is there and takes them,
/// else by a kernel of our own.
void multiply(const cpu::Gemm& g);

/// Matrices as cuBLASLt knows them, but row-major: op(A) is m x k, op(B) k x n, C m x n.
struct Product {
  DType dtype = DType::Float32;
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
};

/// Does a product by cuBLASLt; false where the library is not there or does not take it.
bool multiplyByLibrary(const Product& product);

/// The library's version, or why it cannot be used and what to do.
std::string describeBlas();

}  // namespace anneal::cuda
