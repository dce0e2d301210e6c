// A cuBLASLt for the emulated devices: the functions that cuda/blas.cpp calls, by what NVIDIA's documentation says of
// them. It refuses attributes of a wrong size, memory that is not the device's or ends too early, pointers that are
// less aligned than was promised when the algorithm was asked for, and formats that no GPU takes.
#include <algorithm>
#include <array>
#include <cstring>

#include "work.h"

namespace {

namespace emulate = anneal::emulate;
using emulate::Way;
using emulate::Work;

template <class T>
bool take(T& to, const void* from, size_t bytes) {
  if (bytes != sizeof(T)) return false;
  std::memcpy(&to, from, bytes);
  return true;
}

}  // namespace

struct EmulatedBlas {};

struct EmulatedPreference {
  size_t workspace = 0;
  std::array<uint32_t, 4> alignment{256, 256, 256, 256};
};

namespace {

bool sameSizes(const EmulatedProduct& p, const EmulatedLayout& a, const EmulatedLayout& b, const EmulatedLayout& d) {
  const bool ta = p.a == CUBLAS_OP_T, tb = p.b == CUBLAS_OP_T;
  return (ta ? a.columns : a.rows) == d.rows && (tb ? b.rows : b.columns) == d.columns &&
         (ta ? a.rows : a.columns) == (tb ? b.columns : b.rows) && a.batch == d.batch && b.batch == d.batch;
}

/// Whether a factor's sums are asked for as NVIDIA's library wants it, by what it logs where it refuses: without any
/// other epilogue, of A as it lies or of B transposed.
bool summable(const EmulatedProduct& p, const EmulatedLayout& factor, const EmulatedLayout& d) {
  const bool alone = p.epilogue == CUBLASLT_EPILOGUE_BGRADA || p.epilogue == CUBLASLT_EPILOGUE_BGRADB;
  const bool lies = p.sumsA() ? p.a == CUBLAS_OP_N : p.b == CUBLAS_OP_T;
  return alone && lies && factor.type != CUDA_R_8F_E4M3 && d.batch == 1;
}

/// Whether the vector of a bias, or of sums, is given, aligned and memory of a device.
bool vectorLies(const EmulatedProduct& p, const EmulatedLayout& d) {
  const int64_t length = p.sumsB() ? d.columns : d.rows;
  return p.bias && reinterpret_cast<uintptr_t>(p.bias) % d.item() == 0 &&
         emulate::memoryOf(p.bias, size_t(length) * d.item()) == emulate::Memory::Device;
}

/// Whether the types, and what comes after the product, are among those that are documented.
bool known(const EmulatedProduct& p, const EmulatedLayout& a, const EmulatedLayout& b, const EmulatedLayout& d) {
  const bool wide = d.type == CUDA_R_64F, narrow = d.type == CUDA_R_16F || d.type == CUDA_R_16BF;
  if ((p.compute == CUBLAS_COMPUTE_64F) != wide || (p.scale == CUDA_R_64F) != wide || a.type != b.type) return false;
  const bool sums = p.sumsA() || p.sumsB();
  if ((p.biased() || sums) && !vectorLies(p, d)) return false;
  if (sums && !summable(p, p.sumsA() ? a : b, d)) return false;
  const bool aligned = reinterpret_cast<uintptr_t>(p.auxiliary) % 16 == 0;
  if (p.usesAuxiliary() &&
      (!p.auxiliary || !aligned || p.auxiliaryLd % 8 != 0 || p.auxiliaryLd < d.rows || d.batch > 1))
    return false;
  if (p.has(32) && wide) return false;
  if (a.type != CUDA_R_8F_E4M3) return a.type == d.type && !p.scaleA && !p.scaleB && !p.fast;
  const auto sixteen = [](int64_t bytes) { return bytes % 16 == 0; };
  return p.a == CUBLAS_OP_T && p.b == CUBLAS_OP_N && sixteen(a.rows) && sixteen(a.ld) && sixteen(b.ld) &&
         sixteen(d.rows * int64_t(d.item())) && (narrow || (d.type == CUDA_R_32F && !p.biased()));
}

}  // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new EmulatedBlas;
  return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion() { return 999999; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* out, cublasComputeType_t compute, cudaDataType_t scale) {
  *out = new EmulatedProduct{.compute = compute, .scale = scale};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t p) {
  delete p;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t p, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  const bool taken = [&] {
    switch (attribute) {
      case CUBLASLT_MATMUL_DESC_TRANSA: return take(p->a, value, bytes);
      case CUBLASLT_MATMUL_DESC_TRANSB: return take(p->b, value, bytes);
      case CUBLASLT_MATMUL_DESC_EPILOGUE: return take(p->epilogue, value, bytes);
      case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return take(p->bias, value, bytes);
      case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER: return take(p->auxiliary, value, bytes);
      case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD: return take(p->auxiliaryLd, value, bytes);
      case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER: return take(p->scaleA, value, bytes);
      case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER: return take(p->scaleB, value, bytes);
      case CUBLASLT_MATMUL_DESC_FAST_ACCUM: return take(p->fast, value, bytes);
    }
    return false;
  }();
  return taken ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* out, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t ld) {
  *out = new EmulatedLayout{type, int64_t(rows), int64_t(columns), ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                size_t bytes) {
  const bool taken = attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT ? take(layout->batch, value, bytes)
                                                                     : take(layout->stride, value, bytes);
  return taken ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* out) {
  *out = new EmulatedPreference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  const bool taken =
      attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
          ? take(preference->workspace, value, bytes)
          : take(preference->alignment[size_t(attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES)], value, bytes);
  return taken ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t p, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
                                              int asked, cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = 0;
  for (const EmulatedLayout* l : {a, b, c, d})
    if (l->rows <= 0 || l->columns <= 0 || l->ld < l->rows) return CUBLAS_STATUS_INVALID_VALUE;
  if (!sameSizes(*p, *a, *b, *d) || !known(*p, *a, *b, *d)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto& alignment = preference->alignment;
  if (a->type == CUDA_R_8F_E4M3 && *std::min_element(alignment.begin(), alignment.end()) < 16)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  for (; *found < std::min(asked, emulate::kWays); ++*found) {
    cublasLtMatmulHeuristicResult_t& result = results[*found];
    result = {.workspaceSize = preference->workspace / 2, .state = CUBLAS_STATUS_SUCCESS};
    const Way way{uint64_t(*found), alignment[0], alignment[1], alignment[2], alignment[3], result.workspaceSize};
    std::memcpy(&result.algo, &way, sizeof way);
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t p, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t la, const void* b, cublasLtMatrixLayout_t lb, const void* beta,
                              const void* c, cublasLtMatrixLayout_t lc, void* d, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t bytes,
                              cudaStream_t stream) {
  Way way;
  std::memcpy(&way, algorithm, sizeof way);
  if (way.number == emulate::kFails) return CUBLAS_STATUS_EXECUTION_FAILED;
  if (emulate::innerOf(*p, *la) == emulate::kRefused) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto number = [&](const void* at) {
    return p->scale == CUDA_R_64F ? *static_cast<const double*>(at) : *static_cast<const float*>(at);
  };
  const bool sound = la->lies(a, way.a) && lb->lies(b, way.b) && lc->lies(c, way.c) && ld->lies(d, way.d) &&
                     bytes >= way.workspace && emulate::memoryOf(workspace, bytes) == emulate::Memory::Device &&
                     reinterpret_cast<uintptr_t>(workspace) % 256 == 0 && known(*p, *la, *lb, *ld);
  if (!sound) return CUBLAS_STATUS_INVALID_VALUE;
  const Work work{*p, number(alpha), number(beta), *la, *lb, *lc, *ld, a, b, c, d, way};
  if (emulate::defers(stream)) emulate::defer(stream, [work] { work.run(); });
  else work.run();
  return CUBLAS_STATUS_SUCCESS;
}
