#pragma once
// cuBLASLt's functions, and what it is told of a product, for builds that have its declarations.
#include <cublasLt.h>

#include <array>
#include <optional>

#include "blas.h"
#include "launch.h"
#include "library.h"
#include "runtime/float32.h"

namespace anneal::cuda {

/// The functions that are used, from whichever version is there.
struct BlasFunctions {
#if defined(ANNEAL_CUDA_EMULATE)  // NVIDIA's cannot work on the emulator's memory
  Library library{"cuBLASLt", {"libcublasLt-emulated.so"}, "name the folder blas/ of the emulator's build"};
#else
  Library library{"cuBLASLt",
                  {"libcublasLt.so.13", "libcublasLt.so.12"},
                  "pip install nvidia-cublas, or apt install libcublas-13-0"};
#endif
  decltype(&cublasLtCreate) create = library.find<decltype(&cublasLtCreate)>("cublasLtCreate");
  decltype(&cublasLtGetVersion) version = library.find<decltype(&cublasLtGetVersion)>("cublasLtGetVersion");
  decltype(&cublasLtMatmul) matmul = library.find<decltype(&cublasLtMatmul)>("cublasLtMatmul");
  decltype(&cublasLtMatmulDescCreate) describe =
      library.find<decltype(&cublasLtMatmulDescCreate)>("cublasLtMatmulDescCreate");
  decltype(&cublasLtMatmulDescDestroy) forget =
      library.find<decltype(&cublasLtMatmulDescDestroy)>("cublasLtMatmulDescDestroy");
  decltype(&cublasLtMatmulDescSetAttribute) set =
      library.find<decltype(&cublasLtMatmulDescSetAttribute)>("cublasLtMatmulDescSetAttribute");
  decltype(&cublasLtMatrixLayoutCreate) layout =
      library.find<decltype(&cublasLtMatrixLayoutCreate)>("cublasLtMatrixLayoutCreate");
  decltype(&cublasLtMatrixLayoutDestroy) forgetLayout =
      library.find<decltype(&cublasLtMatrixLayoutDestroy)>("cublasLtMatrixLayoutDestroy");
  decltype(&cublasLtMatrixLayoutSetAttribute) setLayout =
      library.find<decltype(&cublasLtMatrixLayoutSetAttribute)>("cublasLtMatrixLayoutSetAttribute");
  decltype(&cublasLtMatmulPreferenceCreate) prefer =
      library.find<decltype(&cublasLtMatmulPreferenceCreate)>("cublasLtMatmulPreferenceCreate");
  decltype(&cublasLtMatmulPreferenceDestroy) forgetPreference =
      library.find<decltype(&cublasLtMatmulPreferenceDestroy)>("cublasLtMatmulPreferenceDestroy");
  decltype(&cublasLtMatmulPreferenceSetAttribute) setPreference =
      library.find<decltype(&cublasLtMatmulPreferenceSetAttribute)>("cublasLtMatmulPreferenceSetAttribute");
  decltype(&cublasLtMatmulAlgoGetHeuristic) choose =
      library.find<decltype(&cublasLtMatmulAlgoGetHeuristic)>("cublasLtMatmulAlgoGetHeuristic");
};

inline const BlasFunctions& lt() {
  static const BlasFunctions functions;
  return functions;
}

inline void checkLt(cublasStatus_t status, const char* what) {
  require(status == CUBLAS_STATUS_SUCCESS, Code::Device, "cublasLt: ", what, " failed with status ", int(status));
}

inline cudaDataType_t blasTypeOf(DType dtype) {
  switch (dtype) {
    case DType::Float64: return CUDA_R_64F;
    case DType::Float16: return CUDA_R_16F;
    case DType::BFloat16: return CUDA_R_16BF;
    default: return CUDA_R_32F;
  }
}

/// What cuBLASLt is told of as a bias: what it adds, or where the sums of a factor go.
inline const void* biasOf(const Product& p) { return p.sums.to ? p.sums.to->data() : p.bias; }

/// What distinguishes products from each other that one plan serves.
using BlasKey = std::array<int64_t, 17>;

inline BlasKey keyOf(const Product& p) {
  const auto alignment = [](const void* at) { return int64_t(reinterpret_cast<uintptr_t>(at) & 15); };
  const Epilogue& e = p.epilogue;
  return {
      int64_t(p.dtype) | int64_t(fastFloat32Here()) << 8 | int64_t(p.scaleA != nullptr) << 9 | int64_t(e.after) << 10 |
          int64_t(e.residual != nullptr) << 14 | int64_t(e.before != nullptr) << 15 | int64_t(p.wide) << 16 |
          int64_t(p.sums.to != nullptr) << 17 | int64_t(p.sums.right) << 18,
      p.m,
      p.n,
      p.k,
      p.lda,
      p.ldb,
      p.ldc,
      p.batch,
      p.strideA,
      p.strideB,
      p.strideC,
      int64_t(p.transposeA) | int64_t(p.transposeB) << 1 | int64_t(p.bias != nullptr) << 2 | int64_t(p.beta != 0) << 3,
      alignment(p.a),
      alignment(p.b),
      alignment(p.c),
      alignment(biasOf(p)),
      alignment(e.residual) | alignment(e.before) << 4 | alignment(e.other) << 8};
}

/// What an epilogue of cuBLASLt reads or writes beside C.
inline const void* auxiliaryOf(const Epilogue& e) { return e.before ? e.before : e.other; }

/// The epilogue of cuBLASLt that adds up a factor, or none. Factors change places (see Engine::prepare), and only one
/// whose rows go along the inner axis is taken: A as it lies, B transposed. The sums are of the product's dtype.
inline std::optional<cublasLtEpilogue_t> summingEpilogue(const Product& p) {
  if (p.batch != 1) return std::nullopt;
  if (p.sums.right) return p.transposeB ? std::nullopt : std::optional(CUBLASLT_EPILOGUE_BGRADA);
  return p.transposeA ? std::optional(CUBLASLT_EPILOGUE_BGRADB) : std::nullopt;
}

/// The epilogue of cuBLASLt that does what follows a product, bias and all, or none. Its GELU is the one by tanh; how
/// exact that is in float32 is not documented, so that it serves 16 bits. Its gradient of the ReLU wants bits that the
/// forward pass would have to leave.
inline std::optional<cublasLtEpilogue_t> epilogueOf(const Product& p) {
  using After = Epilogue::After;
  if (p.sums.to) return summingEpilogue(p);
  const Epilogue& e = p.epilogue;
  const auto with = [&](cublasLtEpilogue_t alone, cublasLtEpilogue_t biased) { return p.bias ? biased : alone; };
  const bool narrow = p.dtype == DType::Float16 || p.dtype == DType::BFloat16;
  const auto takesAuxiliary = [&] {
    return p.batch == 1 && p.n % 8 == 0 && !e.residual && reinterpret_cast<uintptr_t>(auxiliaryOf(e)) % 16 == 0;
  };
  if (e.after == After::Nothing && !e.before) return with(CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_BIAS);
  if (e.after == After::Relu && !e.before) return with(CUBLASLT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_RELU_BIAS);
  if (e.after == After::GeluTanh && narrow && !e.before)
    return with(CUBLASLT_EPILOGUE_GELU, CUBLASLT_EPILOGUE_GELU_BIAS);
  if (e.after == After::GeluTanh && narrow && takesAuxiliary())
    return with(CUBLASLT_EPILOGUE_GELU_AUX, CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
  if (e.after == After::GeluTanhGrad && narrow && !p.bias && !e.before && takesAuxiliary())
    return CUBLASLT_EPILOGUE_DGELU;
  return std::nullopt;
}

/// Descriptions that cuBLASLt wants of a product, and how it is to do it.
struct BlasPlan {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  bool known = false;  // whether cuBLASLt takes it
  BlasPlan() = default;
  BlasPlan(const BlasPlan&) = delete;
  BlasPlan& operator=(const BlasPlan&) = delete;
  ~BlasPlan() {
    if (operation) lt().forget(operation);
    for (cublasLtMatrixLayout_t l : {a, b, c})
      if (l) lt().forgetLayout(l);
  }
};

}  // namespace anneal::cuda
