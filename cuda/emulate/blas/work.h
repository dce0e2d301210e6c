#pragma once
// What an emulated cuBLASLt is told of a product, and how it computes that.
#include <cmath>

#include "core/dtype.h"
#include "cpu/convert.h"
#include "cpu/float8.h"
#include "cpu/scalar.h"
#include "cublasLt.h"
#include "launch.h"

namespace anneal::emulate {

using cpu::convertTo;

inline size_t sizeOf(cudaDataType_t type) {
  switch (type) {
    case CUDA_R_64F: return 8;
    case CUDA_R_32F: return 4;
    case CUDA_R_8F_E4M3: return 1;
    default: return 2;
  }
}

inline double load(cudaDataType_t type, const void* at, int64_t i) {
  switch (type) {
    case CUDA_R_64F: return static_cast<const double*>(at)[i];
    case CUDA_R_32F: return static_cast<const float*>(at)[i];
    case CUDA_R_16F: return convertTo<double>(static_cast<const Half*>(at)[i]);
    case CUDA_R_16BF: return convertTo<double>(static_cast<const BFloat16*>(at)[i]);
    default: return cpu::fromFloat8(static_cast<const uint8_t*>(at)[i]);
  }
}

inline void store(cudaDataType_t type, void* at, int64_t i, double value) {
  switch (type) {
    case CUDA_R_64F: static_cast<double*>(at)[i] = value; break;
    case CUDA_R_16F: static_cast<Half*>(at)[i] = convertTo<Half>(value); break;
    case CUDA_R_16BF: static_cast<BFloat16*>(at)[i] = convertTo<BFloat16>(value); break;
    default: static_cast<float*>(at)[i] = float(value);
  }
}

}  // namespace anneal::emulate

struct EmulatedProduct {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void *scaleA = nullptr, *scaleB = nullptr;
  void *bias = nullptr, *auxiliary = nullptr;
  int64_t auxiliaryLd = 0;
  int8_t fast = 0;

  bool has(int bits) const { return (int(epilogue) & bits) == bits; }
  bool biased() const { return has(4); }
  bool sumsA() const { return has(256); }
  bool sumsB() const { return has(512); }
  bool usesAuxiliary() const { return has(128); }
};

struct EmulatedLayout {
  cudaDataType_t type;
  int64_t rows, columns, ld;
  int32_t batch = 1;
  int64_t stride = 0;

  size_t item() const { return anneal::emulate::sizeOf(type); }
  /// Whether all of it is memory of a device, aligned to so many bytes.
  bool lies(const void* at, uint64_t alignment) const {
    const int64_t elements = (batch - 1) * stride + (columns - 1) * ld + rows;
    return reinterpret_cast<uintptr_t>(at) % alignment == 0 &&
           anneal::emulate::memoryOf(at, size_t(elements) * item()) == anneal::emulate::Memory::Device;
  }
};

namespace anneal::emulate {

/// What an algorithm is for, as its data hold it.
struct Way {
  uint64_t number, a, b, c, d, workspace;
};
constexpr int kKeepsNaN = 1, kSumsWide = 1, kFails = 2, kWays = 3;
constexpr int64_t kRefused = 1031;  // the inner size of products that are proposed ways for, and then refused

/// What a product adds up over, by its left factor.
inline int64_t innerOf(const EmulatedProduct& product, const EmulatedLayout& a) {
  return product.a == CUBLAS_OP_T ? a.rows : a.columns;
}

struct Work {
  EmulatedProduct product;
  double alpha, beta;
  EmulatedLayout la, lb, lc, ld;
  const void *a, *b, *c;
  void* d;
  Way way;

  double after(double value, int64_t i, int64_t j) const {
    const int64_t place = i + j * product.auxiliaryLd;
    if (product.biased()) value += load(ld.type, product.bias, i);
    if (product.has(64)) return scalar::GeluTanhGrad()(value, load(ld.type, product.auxiliary, place));
    if (product.usesAuxiliary()) store(ld.type, product.auxiliary, place, value);
    if (product.has(32)) return scalar::GeluTanh()(value);
    if (product.has(2)) return std::isnan(value) && way.number == kKeepsNaN ? value : std::fmax(value, 0.0);
    return value;
  }

  /// The sums of a factor over the inner axis; its own rows or columns go along that of the sums.
  void addUp(const EmulatedLayout& factor, const void* at) const {
    for (int64_t i = 0; i < factor.rows; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < factor.columns; ++k) {
        sum += load(factor.type, at, i + k * factor.ld);
        if (way.number == kSumsWide && k + 1 < factor.columns) continue;
        store(ld.type, product.bias, i, sum);
        sum = load(ld.type, product.bias, i);
      }
    }
  }

  void run() const {
    if (product.sumsA()) addUp(la, a);
    if (product.sumsB()) addUp(lb, b);
    const bool ta = product.a == CUBLAS_OP_T, tb = product.b == CUBLAS_OP_T;
    const int64_t inner = innerOf(product, la);
    const double scales = (product.scaleA ? *static_cast<const float*>(product.scaleA) : 1.0) *
                          (product.scaleB ? *static_cast<const float*>(product.scaleB) : 1.0);
    for (int64_t n = 0; n < ld.batch; ++n)
      for (int64_t j = 0; j < ld.columns; ++j)
        for (int64_t i = 0; i < ld.rows; ++i) {
          double sum = 0;
          for (int64_t k = 0; k < inner; ++k)
            sum += load(la.type, a, n * la.stride + (ta ? k + i * la.ld : i + k * la.ld)) *
                   load(lb.type, b, n * lb.stride + (tb ? j + k * lb.ld : k + j * lb.ld));
          sum *= alpha * scales;
          if (beta != 0) sum += beta * load(lc.type, c, n * lc.stride + i + j * lc.ld);
          store(ld.type, d, n * ld.stride + i + j * ld.ld, after(sum, i, j));
        }
  }
};

}  // namespace anneal::emulate
