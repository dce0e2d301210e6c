// Products by cuBLASLt, which is opened when the first is asked for.
#include "blas.h"

#include "device.h"

#if defined(ANNEAL_CUDA_BLAS)
#include <cublasLt.h>

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "launch.h"
#include "library.h"
#include "runtime/float32.h"

namespace anneal::cuda {
namespace {

constexpr size_t kWorkspace = size_t(32) << 20;
constexpr int kCandidates = 8;
constexpr double kWorthTiming = 1e8;  // scalar operations from which candidates are compared by running them

/// The functions that are used, from whichever version is there.
struct Functions {
  Library library{"cuBLASLt",
                  {"libcublasLt.so.13", "libcublasLt.so.12"},
                  "pip install nvidia-cublas, or apt install libcublas-13-0"};
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

const Functions& lt() {
  static const Functions functions;
  return functions;
}

void checkLt(cublasStatus_t status, const char* what) {
  require(status == CUBLAS_STATUS_SUCCESS, Code::Device, "cublasLt: ", what, " failed with status ", int(status));
}

cudaDataType_t typeOf(DType dtype) {
  switch (dtype) {
    case DType::Float64: return CUDA_R_64F;
    case DType::Float16: return CUDA_R_16F;
    case DType::BFloat16: return CUDA_R_16BF;
    default: return CUDA_R_32F;
  }
}

/// What distinguishes products from each other that one plan serves.
using Key = std::array<int64_t, 16>;

Key keyOf(const Product& p) {
  const auto alignment = [](const void* at) { return int64_t(reinterpret_cast<uintptr_t>(at) & 15); };
  return {
      int64_t(p.dtype) | int64_t(fastFloat32Here()) << 8 | int64_t(p.scaleA != nullptr) << 9,
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
      alignment(p.bias)};
}

/// Descriptions that cuBLASLt wants of a product, and how it is to do it.
struct Plan {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  bool known = false;  // whether cuBLASLt takes it
  Plan() = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    if (operation) lt().forget(operation);
    for (cublasLtMatrixLayout_t l : {a, b, c})
      if (l) lt().forgetLayout(l);
  }
};

/// cuBLASLt of one device.
class Engine {
 public:
  Engine() {
    checkLt(lt().create(&handle_), "creating a handle");
    void* memory = nullptr;
    check(cudaMalloc(&memory, kWorkspace), "working memory of cuBLASLt");
    workspace_ = memory;
  }

  bool multiply(const Product& p) {
    const Key key = keyOf(p);
    auto [found, added] = plans_.try_emplace(key);
    if (added) {
      if (plans_.size() > kMostPlans) plans_.clear(), found = plans_.try_emplace(key).first;
      found->second = std::make_unique<Plan>();
      prepare(*found->second, p);
    }
    Plan& plan = *found->second;
    if (!plan.known) return false;
    bind(plan, p);
    checkLt(run(plan, p, plan.algorithm), "a product");
    return true;
  }

 private:
  static constexpr size_t kMostPlans = 4096;

  /// Row-major C = A B is, column by column, C' = B' A': the factors change places.
  void prepare(Plan& plan, const Product& p) {
    const cudaDataType_t type = typeOf(p.dtype);
    const bool wide = p.dtype == DType::Float64;
    const cublasComputeType_t compute =
        wide ? CUBLAS_COMPUTE_64F
             : (p.dtype == DType::Float32 && fastFloat32Here() ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F);
    checkLt(lt().describe(&plan.operation, compute, wide ? CUDA_R_64F : CUDA_R_32F), "describing a product");
    const auto way = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
    set(plan, CUBLASLT_MATMUL_DESC_TRANSA, way(p.transposeB));
    set(plan, CUBLASLT_MATMUL_DESC_TRANSB, way(p.transposeA));
    if (p.bias) {
      set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    }
    const bool fp8 = p.scaleA != nullptr;
    if (fp8) set(plan, CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t(1));
    const cudaDataType_t factors = fp8 ? CUDA_R_8F_E4M3 : type;
    plan.a = layout(factors, p.transposeB ? p.k : p.n, p.transposeB ? p.n : p.k, p.ldb, p.batch, p.strideB);
    plan.b = layout(factors, p.transposeA ? p.m : p.k, p.transposeA ? p.k : p.m, p.lda, p.batch, p.strideA);
    plan.c = layout(type, p.n, p.m, p.ldc, p.batch, p.strideC);
    bind(plan, p);  // what is asked for without scales is another kernel
    choose(plan, p);
  }

  template <class T>
  static void set(Plan& plan, cublasLtMatmulDescAttributes_t attribute, const T& value) {
    checkLt(lt().set(plan.operation, attribute, &value, sizeof value), "describing a product");
  }

  static cublasLtMatrixLayout_t layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t ld, int64_t batch,
                                       int64_t stride) {
    cublasLtMatrixLayout_t out = nullptr;
    checkLt(lt().layout(&out, type, uint64_t(rows), uint64_t(columns), ld), "describing a matrix");
    if (batch > 1) {
      const auto count = int32_t(batch);
      checkLt(lt().setLayout(out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count), "describing a batch");
      checkLt(lt().setLayout(out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride),
              "describing a batch");
    }
    return out;
  }

  void choose(Plan& plan, const Product& p) {
    cublasLtMatmulPreference_t preference = nullptr;
    checkLt(lt().prefer(&preference), "preferences");
    const size_t bytes = kWorkspace;
    checkLt(lt().setPreference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes),
            "preferences");
    // No more than the key tells apart: the plan serves all that is aligned so.
    const auto alignment = [](const void* at) {
      return uint32_t(std::min<uintptr_t>(16, reinterpret_cast<uintptr_t>(at) & -reinterpret_cast<uintptr_t>(at)));
    };
    const uint32_t a = alignment(p.b), b = alignment(p.a), c = alignment(p.c);
    (void)lt().setPreference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &a, sizeof a);
    (void)lt().setPreference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &b, sizeof b);
    (void)lt().setPreference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &c, sizeof c);
    (void)lt().setPreference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &c, sizeof c);
    std::array<cublasLtMatmulHeuristicResult_t, kCandidates> results;
    int found = 0;
    const cublasStatus_t status = lt().choose(handle_, plan.operation, plan.a, plan.b, plan.c, plan.c, preference,
                                              kCandidates, results.data(), &found);
    lt().forgetPreference(preference);
    plan.known = status == CUBLAS_STATUS_SUCCESS && found > 0;
    if (!plan.known) return;
    plan.algorithm = results[0].algo;
    const double work = 2.0 * double(p.m) * double(p.n) * double(p.k) * double(p.batch);
    if (found > 1 && work >= kWorthTiming && !capturing()) time(plan, p, {results.data(), size_t(found)});
  }

  static bool capturing() {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    (void)cudaStreamIsCapturing(stream(), &status);
    return status != cudaStreamCaptureStatusNone;
  }

  /// Runs the candidates, the first time that such a product is asked for, and keeps the fastest. C is written, so that
  /// only products that overwrite it are run.
  void time(Plan& plan, const Product& p, std::span<const cublasLtMatmulHeuristicResult_t> candidates) {
    if (p.beta != 0) return;
    cudaEvent_t begin, end;
    check(cudaEventCreate(&begin), "event");
    check(cudaEventCreate(&end), "event");
    float best = 0;
    for (const auto& candidate : candidates) {
      if (run(plan, p, candidate.algo) != CUBLAS_STATUS_SUCCESS) continue;  // also warms up
      float least = 0;
      for (int i = 0; i < 3; ++i) {
        check(cudaEventRecord(begin, stream()), "event");
        if (run(plan, p, candidate.algo) != CUBLAS_STATUS_SUCCESS) break;
        check(cudaEventRecord(end, stream()), "event");
        check(cudaEventSynchronize(end), "event");
        float took = 0;
        check(cudaEventElapsedTime(&took, begin, end), "event");
        if (i == 0 || took < least) least = took;
      }
      if (best == 0 || (least > 0 && least < best)) {
        best = least;
        plan.algorithm = candidate.algo;
      }
    }
    (void)cudaEventDestroy(begin);
    (void)cudaEventDestroy(end);
  }

  static void bind(Plan& plan, const Product& p) {
    if (p.bias) set(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    if (!p.scaleA) return;
    set(plan, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, p.scaleB);  // factors change places
    set(plan, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, p.scaleA);
  }

  cublasStatus_t run(const Plan& plan, const Product& p, const cublasLtMatmulAlgo_t& algorithm) {
    const auto alpha = float(p.alpha), beta = float(p.beta);
    const bool wide = p.dtype == DType::Float64;
    const void *one = wide ? static_cast<const void*>(&p.alpha) : &alpha,
               *two = wide ? static_cast<const void*>(&p.beta) : &beta;
    return lt().matmul(handle_, plan.operation, one, p.b, plan.a, p.a, plan.b, two, p.c, plan.c, p.c, plan.c,
                       &algorithm, workspace_, kWorkspace, stream());
  }

  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

/// Of the device whose thread this is: only that thread uses it.
Engine& engine() {
  thread_local auto* own = new Engine;  // as long as the thread, which is as long as the process
  return *own;
}

}  // namespace

bool multiplyByLibrary(const Product& product) {
  if (!lt().library.problem().empty()) return false;
  return engine().multiply(product);
}

std::string describeBlas() {
  const Library& library = lt().library;
  if (!library.problem().empty()) return library.problem() + "; until then products are made by slower kernels";
  return text(versionText(lt().version()), " (", library.path(), ")");
}

}  // namespace anneal::cuda

#else

namespace anneal::cuda {

bool multiplyByLibrary(const Product&) { return false; }
std::string describeBlas() { return "not in this build: products are made by slower kernels"; }

}  // namespace anneal::cuda

#endif
