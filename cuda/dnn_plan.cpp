#if defined(ANNEAL_CUDA_DNN)
#include "dnn_plan.h"

#include <algorithm>
#include <mutex>

#include "blas.h"
#include "compiler.h"
#include "device.h"
#include "nccl.h"

namespace anneal::cuda {
namespace {

constexpr int64_t kCandidates = 64;  // of convolutions in float32 the first dozens round to TF32

bool acceptable(cudnnBackendDescriptor_t config, bool mayRound) {
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
    return rounds && !mayRound;
  });
}

std::shared_ptr<const DnnPlan> planOf(Descriptor config, const std::shared_ptr<const Descriptor>& graph,
                                      const DnnWishes& wishes) try {
  if (!acceptable(config.get(), wishes.mayRound)) return nullptr;
  DnnPlan plan{Descriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR), std::move(config), graph};
  plan.plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, dnnHandle())
      .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, plan.config)
      .finish();
  int64_t count = 0;
  want(dnn().get(plan.plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count,
                 &plan.workspace));
  return plan.workspace <= wishes.workspace ? std::make_shared<const DnnPlan>(std::move(plan)) : nullptr;
} catch (const Refused&) {
  return nullptr;
}

DnnPlans plansBy(cudnnBackendHeurMode_t mode, const std::shared_ptr<const Descriptor>& graph,
                 const DnnWishes& wishes) try {
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
  DnnPlans plans;
  for (int64_t i = 0; i < std::min(count, kCandidates) && plans.size() < wishes.most; ++i)
    if (auto plan = planOf(std::move(configs[size_t(i)]), graph, wishes)) plans.push_back(std::move(plan));
  return plans;
} catch (const Refused&) {
  return {};
}

}  // namespace

cudnnHandle_t dnnHandle() {
  static thread_local const cudnnHandle_t handle = [] {  // a device's kernels are started by one thread
    // Its engines look for these libraries by name alone, wherever they lie: they are found if they are loaded already.
    (void)describeBlas();
    (void)nvrtc().problem();
    cudnnHandle_t made = nullptr;
    std::lock_guard lock(startingTogether());
    const cudnnStatus_t status = dnn().create(&made);
    require(status == CUDNN_STATUS_SUCCESS, Code::Device, "cuDNN: it cannot be started: ", dnn().describe(status));
    return made;
  }();
  return handle;
}

DnnPlans plansOf(Descriptor graph, const DnnWishes& wishes) {
  const auto shared = std::make_shared<const Descriptor>(std::move(graph));
  DnnPlans plans = plansBy(CUDNN_HEUR_MODE_A, shared, wishes);
  return plans.empty() ? plansBy(CUDNN_HEUR_MODE_FALLBACK, shared, wishes) : plans;
}

bool DnnPlan::run(const DnnOperands& operands) const try {
  const Scratch memory(size_t(std::max<int64_t>(workspace, 1)));
  void* const at = memory.as<void*>();
  std::vector<int64_t> names;
  std::vector<void*> places;
  for (const DnnOperand& o : operands) {
    names.push_back(o.name);
    places.push_back(o.at);
  }
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, names)
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, int64_t(places.size()), places.data())
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, at)
      .finish();
  want(dnn().setStream(dnnHandle(), stream()));
  want(dnn().execute(dnnHandle(), plan.get(), pack.get()));
  return true;
} catch (const Refused&) {
  return false;
}

bool DnnPlan::tries(const DnnOperands& operands) const try { return run(operands); } catch (const Error& e) {
  if (e.code() != Code::Memory) throw;
  return false;
}

TimedPlan fastest(const DnnPlans& plans, const DnnOperands& operands) {
  TimedPlan best;
  for (const auto& plan : plans) {
    const float took = timeOf([&] { return plan->tries(operands); });
    if (took != 0 && (!best.plan || took < best.milliseconds)) best = {plan, took};
  }
  return best;
}

}  // namespace anneal::cuda

#endif
