// Products by cuBLASLt, which is opened when the first is asked for.
#include "blas.h"

#include "device.h"

#if defined(ANNEAL_CUDA_BLAS)
#include <atomic>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "blas_plan.h"
#include "cpu/convert.h"
#include "nccl.h"
#include "timing.h"

namespace anneal::cuda {
namespace {

constexpr size_t kWorkspace = size_t(32) << 20;
constexpr int kCandidates = 8;

using Plan = BlasPlan;
std::atomic<int> refused{0};  // kinds of products

/// cuBLASLt of one device.
class Engine {
 public:
  Engine() : workspace_(kWorkspace) {
    std::lock_guard lock(startingTogether());
    checkLt(lt().create(&handle_), "creating a handle");
  }

  bool multiply(const Product& p) {
    const std::shared_ptr<Plan> plan = planFor(p);
    if (!plan->known) return false;
    bind(*plan, p);
    const cublasStatus_t status = run(*plan, p, plan->algorithm);
    if (status != CUBLAS_STATUS_SUCCESS) giveUp(*plan, p, status);
    return plan->known;
  }

 private:
  static constexpr size_t kMostPlans = 4096;

  std::shared_ptr<Plan> planFor(const Product& p) {
    const BlasKey key = keyOf(p);
    if (const auto found = plans_.find(key); found != plans_.end()) return found->second;
    auto plan = std::make_shared<Plan>();
    const auto epilogue = epilogueOf(p);
    if (epilogue) prepare(*plan, p, *epilogue);
    // While a stream is recorded cuBLASLt may refuse to propose anything, and nothing can be tried: the answer may be
    // another later.
    if (epilogue && !plan->known && capturing()) return plan;
    if (plans_.size() >= kMostPlans) plans_.clear();
    plans_.emplace(key, plan);
    return plan;
  }

  /// Such products are made by own kernels from now on: slower, but made.
  static void giveUp(Plan& plan, const Product& p, cublasStatus_t status) {
    plan.known = false;
    ++refused;
    const std::string warning =
        text("anneal: cublasLt refuses (status ", int(status), ") a product of ", p.batch, " x ", p.m, " x ", p.n,
             " x ", p.k, " ", p.dtype, " on ", current().name(), "; a slower kernel makes it\n");
    std::fputs(warning.c_str(), stderr);
  }

  /// Row-major C = A B is, column by column, C' = B' A': the factors change places.
  void prepare(Plan& plan, const Product& p, cublasLtEpilogue_t epilogue) {
    const cudaDataType_t type = blasTypeOf(p.dtype);
    const bool wide = p.dtype == DType::Float64;
    const cublasComputeType_t compute =
        wide ? CUBLAS_COMPUTE_64F
             : (p.dtype == DType::Float32 && fastFloat32Here() ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F);
    checkLt(lt().describe(&plan.operation, compute, wide ? CUDA_R_64F : CUDA_R_32F), "describing a product");
    const auto way = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
    set(plan, CUBLASLT_MATMUL_DESC_TRANSA, way(p.transposeB));
    set(plan, CUBLASLT_MATMUL_DESC_TRANSB, way(p.transposeA));
    set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (auxiliaryOf(p.epilogue)) set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.ldc);
    const bool fp8 = p.scaleA != nullptr;
    if (fp8) set(plan, CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t(1));
    const cudaDataType_t factors = fp8 ? CUDA_R_8F_E4M3 : type;
    plan.a = layout(factors, p.transposeB ? p.k : p.n, p.transposeB ? p.n : p.k, p.ldb, p.batch, p.strideB);
    plan.b = layout(factors, p.transposeA ? p.m : p.k, p.transposeA ? p.k : p.m, p.lda, p.batch, p.strideA);
    plan.c = layout(blasTypeOf(p.result()), p.n, p.m, p.ldc, p.batch, p.strideC);
    bind(plan, p);  // what is asked for without scales, or with other alignments, is another kernel
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
    const uint32_t a = alignment(p.b), b = alignment(p.a), c = alignment(addedTo(p)), d = alignment(p.c);
    (void)lt().setPreference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &a, sizeof a);
    (void)lt().setPreference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &b, sizeof b);
    (void)lt().setPreference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &c, sizeof c);
    (void)lt().setPreference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &d, sizeof d);
    std::array<cublasLtMatmulHeuristicResult_t, kCandidates> results;
    int found = 0;
    const cublasStatus_t status = lt().choose(handle_, plan.operation, plan.a, plan.b, plan.c, plan.c, preference,
                                              kCandidates, results.data(), &found);
    lt().forgetPreference(preference);
    const bool free = !capturing();
    if (status != CUBLAS_STATUS_SUCCESS) {
      if (free && status != CUBLAS_STATUS_NOT_SUPPORTED) giveUp(plan, p, status);
      return;
    }
    int kept = 0;
    for (int i = 0; i < found; ++i)
      if (results[size_t(i)].state == CUBLAS_STATUS_SUCCESS &&
          (!doubtful(p) || (free && proven(plan, p, results[size_t(i)].algo))))
        results[size_t(kept++)] = results[size_t(i)];
    plan.known = kept > 0;
    if (!plan.known) return;
    plan.algorithm = results[0].algo;
    const double work = 2.0 * double(p.m) * double(p.n) * double(p.k) * double(p.batch);
    // C is written, so that only products that overwrite it are run.
    if (!free || (work < kWorthTiming && !p.sums.to) || p.beta != 0) return;
    if (kept == 1 && !p.joined()) return;
    const float took = fastest(plan, p, {results.data(), size_t(kept)});
    if (took == 0 && !p.joined()) return giveUp(plan, p, CUBLAS_STATUS_NOT_SUPPORTED);
    plan.known = took > 0 && (!p.joined() || took <= timeApart(p));
  }

  /// Whether NVIDIA's documentation leaves open what an epilogue does where that matters.
  static bool doubtful(const Product& p) { return p.sums.to || p.epilogue.after == Epilogue::After::Relu; }
  bool proven(const Plan& plan, const Product& p, const cublasLtMatmulAlgo_t& algorithm) {
    return p.sums.to ? addsUp(plan, p, algorithm) : keepsNaN(plan, p, algorithm);
  }

  /// Whether what is not a number stays that: a ReLU may be the larger of it and 0.
  bool keepsNaN(const Plan& plan, const Product& p, const cublasLtMatmulAlgo_t& algorithm) {
    Product probe = p;
    probe.alpha = std::numeric_limits<double>::quiet_NaN();
    return run(plan, probe, algorithm) == CUBLAS_STATUS_SUCCESS && std::isnan(read(p.c, p.dtype, 1)[0]);
  }

  /// Whether the sums are those of a pass of its own, which adds up in float32, to the last place of the largest.
  bool addsUp(const Plan& plan, const Product& p, const cublasLtMatmulAlgo_t& algorithm) {
    if (run(plan, p, algorithm) != CUBLAS_STATUS_SUCCESS) return false;
    const View& to = *p.sums.to;
    const std::vector<double> found = read(to.data(), to.dtype, to.size());
    p.finish();
    const std::vector<double> wanted = read(to.data(), to.dtype, to.size());
    double largest = 0;
    for (const double v : wanted) largest = std::max(largest, std::isfinite(v) ? std::abs(v) : 0);
    const double most = largest * (to.dtype == DType::BFloat16 ? 0x1p-7 : to.dtype == DType::Float16 ? 0x1p-10 : 1e-4);
    return std::equal(found.begin(), found.end(), wanted.begin(),
                      [&](double a, double b) { return !std::isfinite(b) || std::abs(a - b) <= most; });
  }

  /// Numbers from the GPU, once it has computed them.
  static std::vector<double> read(const void* at, DType dtype, int64_t n) {
    std::vector<std::byte> bytes(size_t(n) * itemSize(dtype));
    check(cudaMemcpyAsync(bytes.data(), at, bytes.size(), cudaMemcpyDeviceToHost, stream()), "a copy");
    check(cudaStreamSynchronize(stream()), "a product");
    std::vector<double> out(static_cast<size_t>(n));
    visitType(dtype, [&]<class T>(TypeTag<T>) {
      const T* values = reinterpret_cast<const T*>(bytes.data());
      std::transform(values, values + n, out.begin(), [](T v) { return cpu::convertTo<double>(v); });
    });
    return out;
  }

  /// Runs the candidates, the first time that such a product is asked for, and keeps the fastest. Its time; 0 if none
  /// succeeds.
  float fastest(Plan& plan, const Product& p, std::span<const cublasLtMatmulHeuristicResult_t> candidates) {
    float best = 0;
    for (const auto& candidate : candidates) {
      const float took = timeOf([&] { return run(plan, p, candidate.algo) == CUBLAS_STATUS_SUCCESS; });
      if (took == 0 || (best > 0 && took >= best)) continue;
      best = took;
      plan.algorithm = candidate.algo;
    }
    return best;
  }

  /// The time of the product and then, in a pass of its own, what follows it.
  float timeApart(const Product& p) {
    const float took = timeOf([&] {
      if (!multiply(p.plain())) return false;
      p.finish();
      return true;
    });
    return took > 0 ? took : std::numeric_limits<float>::infinity();
  }

  static void bind(Plan& plan, const Product& p) {
    if (const void* at = biasOf(p)) set(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, at);
    if (const void* at = auxiliaryOf(p.epilogue)) set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, at);
    if (!p.scaleA) return;
    set(plan, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, p.scaleB);  // factors change places
    set(plan, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, p.scaleA);
  }

  /// What C is added to.
  static const void* addedTo(const Product& p) { return p.epilogue.residual ? p.epilogue.residual : p.c; }

  cublasStatus_t run(const Plan& plan, const Product& p, const cublasLtMatmulAlgo_t& algorithm) {
    const double added = p.epilogue.residual ? 1 : p.beta;
    const auto alpha = float(p.alpha), beta = float(added);
    const bool wide = p.dtype == DType::Float64;
    const void *one = wide ? static_cast<const void*>(&p.alpha) : &alpha,
               *two = wide ? static_cast<const void*>(&added) : &beta;
    return lt().matmul(handle_, plan.operation, one, p.b, plan.a, p.a, plan.b, two, addedTo(p), plan.c, p.c, plan.c,
                       &algorithm, workspace_.as<void>(), kWorkspace, stream());
  }

  cublasLtHandle_t handle_ = nullptr;
  const Scratch workspace_;  // for all products: they follow one another
  std::map<BlasKey, std::shared_ptr<Plan>> plans_;
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
  const int kinds = refused;
  return text(versionText(lt().version()), " (", library.path(), ")",
              kinds ? text("; it has refused ", kinds, " kinds of products, which slower kernels make") : "");
}

}  // namespace anneal::cuda

#else

namespace anneal::cuda {

bool multiplyByLibrary(const Product&) { return false; }
std::string describeBlas() { return "not in this build: products are made by slower kernels"; }

}  // namespace anneal::cuda

#endif
