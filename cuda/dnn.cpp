// Convolutions by cuDNN's graphs of one operation; the library is opened when the first is asked for.
#include "dnn.h"

#include "device.h"

#if defined(ANNEAL_CUDA_DNN)
#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "blas.h"
#include "compiler.h"
#include "dnn_problem.h"
#include "launch.h"
#include "runtime/float32.h"
#include "timing.h"

namespace anneal::cuda {
namespace {

constexpr int64_t kMostWorkspace = int64_t(1) << 30;
constexpr int64_t kCandidates = 64;  // for float32 the first dozens round to TF32
constexpr size_t kCompared = 8;      // of those that are acceptable, by running them, where the problem is large
constexpr size_t kMostPlans = 4096;

/// Whether an engine gives the same result in every run, and computes float32 as such unless TF32 was asked for.
bool acceptable(cudnnBackendDescriptor_t config, DType dtype) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t at = engine.get();
  int64_t count = 0;
  want(dnn().get(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &at));
  std::vector<cudnnBackendNumericalNote_t> notes(CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  want(dnn().get(at, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, int64_t(notes.size()), &count,
                 notes.data()));
  notes.resize(size_t(std::min<int64_t>(count, int64_t(notes.size()))));
  return std::none_of(notes.begin(), notes.end(), [&](cudnnBackendNumericalNote_t note) {
    if (note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC || note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)
      return true;
    const bool rounds = note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE || note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS;
    return rounds && dtype == DType::Float32 && !fastFloat32Here();
  });
}

/// With what it has been made of, which stays as long: whether cuDNN needs that is not documented.
struct Plan {
  Descriptor plan, config;
  std::shared_ptr<const Descriptor> graph;
  int64_t workspace = 0;
};

/// cuDNN of the calling thread's device.
class Engine {
 public:
  Engine() {
    // Its engines look for these libraries by name alone, wherever they lie: they are found if they are loaded already.
    (void)describeBlas();
    (void)nvrtc().problem();
    const cudnnStatus_t status = dnn().create(&handle_);
    require(status == CUDNN_STATUS_SUCCESS, Code::Device, "cuDNN: it cannot be started: ", dnn().describe(status));
  }

  bool run(const ConvProblem& p) {
    if (plans_.size() > kMostPlans) plans_.clear();
    const std::vector<int64_t> key = p.key();
    auto found = plans_.find(key);
    if (found == plans_.end()) found = plans_.emplace(key, planFor(p)).first;
    if (!found->second) return false;
    current().keep(found->second);
    require(execute(*found->second, p), Code::Device,
            "cuDNN: a convolution that was planned cannot be run: ", lastDnnError());
    return true;
  }

 private:
  using Plans = std::vector<std::shared_ptr<const Plan>>;

  /// The fastest of the first acceptable ones that the heuristics name, the likely fastest first, or just the first
  /// where the problem is small; null for none.
  std::shared_ptr<const Plan> planFor(const ConvProblem& p) const try {
    const Descriptor operation = operationOf(p);
    auto graph = std::make_shared<Descriptor>(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph->set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle_)
        .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation)
        .finish();
    const size_t most = p.work() < kWorthTiming || capturing() ? 1 : kCompared;
    Plans plans = plansOf(graph, CUDNN_HEUR_MODE_A, p.dtype, most);
    if (plans.empty()) plans = plansOf(graph, CUDNN_HEUR_MODE_FALLBACK, p.dtype, most);
    if (plans.empty()) return nullptr;
    return plans.size() == 1 ? plans[0] : fastest(plans, p);
  } catch (const Refused&) {
    return nullptr;
  }

  /// Each is run on the problem's own data, whose result is overwritten; null where none can be.
  std::shared_ptr<const Plan> fastest(const Plans& plans, const ConvProblem& p) const {
    std::shared_ptr<const Plan> best;
    float least = 0;
    for (const auto& plan : plans) {
      const float took = timeOf([&] { return tries(*plan, p); });
      if (took == 0 || (best && took >= least)) continue;
      least = took;
      best = plan;
    }
    return best;
  }

  Plans plansOf(const std::shared_ptr<const Descriptor>& graph, cudnnBackendHeurMode_t mode, DType dtype,
                size_t most) const try {
    Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, *graph)
        .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode)
        .finish();
    std::vector<Descriptor> configs;
    std::vector<cudnnBackendDescriptor_t> places;
    for (int64_t i = 0; i < kCandidates; ++i) {
      configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
      places.push_back(configs.back().get());
    }
    int64_t count = 0;
    want(dnn().get(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, kCandidates, &count,
                   places.data()));
    Plans plans;
    for (int64_t i = 0; i < std::min(count, kCandidates) && plans.size() < most; ++i)
      if (auto plan = planOf(std::move(configs[size_t(i)]), graph, dtype)) plans.push_back(std::move(plan));
    return plans;
  } catch (const Refused&) {
    return {};
  }

  std::shared_ptr<const Plan> planOf(Descriptor config, const std::shared_ptr<const Descriptor>& graph,
                                     DType dtype) const try {
    if (!acceptable(config.get(), dtype)) return nullptr;
    Plan plan{Descriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR), std::move(config), graph};
    plan.plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle_)
        .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, plan.config)
        .finish();
    int64_t count = 0;
    want(dnn().get(plan.plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count,
                   &plan.workspace));
    return plan.workspace <= kMostWorkspace ? std::make_shared<const Plan>(std::move(plan)) : nullptr;
  } catch (const Refused&) {
    return nullptr;
  }

  /// As execute(); that there is no room for its working memory is no error.
  bool tries(const Plan& plan, const ConvProblem& p) const try { return execute(plan, p); } catch (const Error& e) {
    if (e.code() != Code::Memory) throw;
    return false;
  }

  /// False where cuDNN refuses.
  bool execute(const Plan& plan, const ConvProblem& p) const try {
    const Scratch memory(size_t(std::max<int64_t>(plan.workspace, 1)));
    void* const workspace = memory.as<void*>();
    void* const pointers[] = {p.x, p.weight, p.y};
    Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, std::vector<int64_t>{kImage, kWeight, kResult})
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, pointers)
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace)
        .finish();
    want(dnn().setStream(handle_, stream()));
    want(dnn().execute(handle_, plan.plan.get(), pack.get()));
    return true;
  } catch (const Refused&) {
    return false;
  }

  cudnnHandle_t handle_ = nullptr;
  std::map<std::vector<int64_t>, std::shared_ptr<const Plan>> plans_;
};

}  // namespace

bool convolveByLibrary(ConvWay way, const cpu::ConvShape& s, const View& x, const View& weight, const View& y) {
  if (!dnn().library.problem().empty()) return false;
  if (std::any_of(s.after.begin(), s.after.end(), [](int64_t n) { return n < 0; })) return false;
  static thread_local Engine engine;  // a device's kernels are started by one thread
  return engine.run({way, widened(s), y.dtype, x.memory, weight.memory, y.memory});
}

std::string describeDnn() {
  const std::string& problem = dnn().library.problem();
  if (!problem.empty()) return problem + "; until then convolutions are made by slower kernels";
  return text(versionText(dnn().version()), " (", dnn().library.path(), ")");
}

}  // namespace anneal::cuda

#else

namespace anneal::cuda {

bool convolveByLibrary(ConvWay, const cpu::ConvShape&, const View&, const View&, const View&) { return false; }
std::string describeDnn() { return "not in this build: convolutions are made by slower kernels"; }

}  // namespace anneal::cuda

#endif
