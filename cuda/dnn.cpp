// Convolutions by cuDNN's graphs of one operation; the library is opened when the first is asked for.
#include "dnn.h"

#include "device.h"

#if defined(ANNEAL_CUDA_DNN)
#include <algorithm>
#include <cstdio>
#include <map>

#include "dnn_plan.h"
#include "dnn_problem.h"
#include "launch.h"
#include "runtime/float32.h"

namespace anneal::cuda {
namespace {

constexpr size_t kCompared = 8;  // of those that are acceptable, by running them, where the problem is large
constexpr size_t kMostPlans = 4096;

DnnOperands operandsOf(const ConvProblem& p) { return {{kImage, p.x}, {kWeight, p.weight}, {kResult, p.y}}; }

/// The fastest plan, or just the first where the problem is small; null for none.
std::shared_ptr<const DnnPlan> planFor(const ConvProblem& p) try {
  const Descriptor operation = operationOf(p);
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, dnnHandle())
      .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation)
      .finish();
  const DnnWishes wishes{.mayRound = p.dtype != DType::Float32 || fastFloat32Here(),
                         .most = p.work() < kWorthTiming || capturing() ? 1 : kCompared};
  const DnnPlans plans = plansOf(std::move(graph), wishes);
  if (plans.empty()) return nullptr;
  const auto best = plans.size() == 1 ? nullptr : fastest(plans, operandsOf(p)).plan;
  return best ? best : plans[0];
} catch (const Refused&) {
  return nullptr;
}

bool run(const ConvProblem& p) {
  static thread_local std::map<std::vector<int64_t>, std::shared_ptr<const DnnPlan>> plans;
  if (plans.size() > kMostPlans) plans.clear();
  const std::vector<int64_t> key = p.key();
  auto found = plans.find(key);
  if (found == plans.end()) found = plans.emplace(key, planFor(p)).first;
  if (!found->second) return false;
  current().keep(found->second);
  try {
    if (found->second->run(operandsOf(p))) return true;
  } catch (const Error& e) {
    if (e.code() != Code::Memory) throw;
    return false;  // a slower kernel needs less
  }
  const std::string warning = text("anneal: cuDNN refuses a convolution on ", current().name(),
                                   " that it has planned (", lastDnnError(), "); a slower kernel computes it\n");
  std::fputs(warning.c_str(), stderr);
  found->second = nullptr;
  return false;
}

}  // namespace

bool convolveByLibrary(ConvWay way, const cpu::ConvShape& s, const View& x, const View& weight, const View& y) {
  if (!dnn().library.problem().empty()) return false;
  if (std::any_of(s.after.begin(), s.after.end(), [](int64_t n) { return n < 0; })) return false;
  return run({way, widened(s), y.dtype, x.memory, weight.memory, y.memory});
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
