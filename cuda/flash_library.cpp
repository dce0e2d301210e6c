// Whether cuDNN computes attention of heads of 16 bits: where it gives what single warps give, and sooner than our own
// kernels.
#include "flash.h"

#if defined(ANNEAL_CUDA_DNN)
#include <atomic>
#include <map>

#include "device.h"
#include "dnn_attention.h"
#include "flash_probe.h"

namespace anneal::cuda {
namespace {

constexpr size_t kLeastVersion = 91501;  // earlier ones have faults, around which NVIDIA's frontend works
constexpr int64_t kMostWorkspace = int64_t(2) << 30;
/// Making a plan takes a part of a second: programs whose lengths change all the time are not to wait for
/// ever.
constexpr size_t kMostProblems = 64;
#if defined(ANNEAL_CUDA_EMULATE)
constexpr double kWorthPlanning = 1e6;
#else
constexpr double kWorthPlanning = kWorthTiming;
#endif

using Plan = std::shared_ptr<const DnnPlan>;
std::atomic<int> compared{0}, taken{0};  // problems

/// The one that cuDNN's heuristics hold to be the fastest; null where there is none.
Plan planOf(const AttentionProblem& p) try {
  const DnnPlans plans = plansOf(graphOf(p, dnnHandle()), {.workspace = kMostWorkspace});
  return plans.empty() ? nullptr : plans[0];
} catch (const Refused&) {
  return nullptr;
}

/// False where cuDNN refuses, or has no room to work.
bool run(const Plan& plan, const AttentionProblem& p) {
  const Scratch sums(p.gradients ? size_t(p.logSumExp.size()) * sizeof(float) : 1);
  return plan->tries(operandsOf(p, sums.as<void>()));
}

FlashProbe probeOf(const AttentionProblem& p) {
  return {p.q.dtype, p.q.shape[3], p.v.shape[3], p.gradients, 2, 2, p.q.shape[1] / p.k.shape[1]};
}

/// What is wrong with cuDNN's attention of that kind; empty: nothing.
std::string faultOf(const FlashProbe& probe) {
  const auto compute = [](const auto&... of) {
    const AttentionProblem p(of...);
    const Plan plan = planOf(p);
    const bool done = plan && run(plan, p);
    require(done, Code::Device, "a small problem cannot be run: ", lastDnnError());
  };
  const FlashWay way{compute, compute};
  const int others = othersOf(probe, way);
  return others == 0 ? "" : text(others, " of a small problem's results differ");
}

bool sound(const FlashProbe& probe) {
  static thread_local std::map<std::vector<int64_t>, bool> known;
  const std::vector<int64_t> key{int64_t(probe.dtype), probe.depth, probe.width, probe.gradients, probe.group};
  if (const auto found = known.find(key); found != known.end()) return found->second;
  std::string fault;
  try {
    fault = faultOf(probe);
  } catch (const Error& e) {
    fault = e.what();
  }
  if (!fault.empty()) warnOf(probe, "cuDNN", "own kernels", fault);
  return known[key] = fault.empty();
}

/// Null for our own kernels.
Plan choose(const AttentionProblem& p, const std::function<void()>& own) try {
  const Plan plan = planOf(p);
  if (!plan || attentionIs("cudnn")) return plan;
  if (!sound(probeOf(p))) return nullptr;
  const float took = timeOf([&] { return run(plan, p); });
  const float ownTook = timeOf([&] {
    own();
    return true;
  });
  return took > 0 && took < ownTook ? plan : nullptr;
} catch (const Error& e) {
  if (e.code() != Code::Memory) warnOf(probeOf(p), "cuDNN", "own kernels", e.what());
  return nullptr;
}

bool asked(const FlashCall& call, bool gradients) {
  if (call.mask.defined || call.attrs.dropoutP > 0 || attentionIs("mma") || attentionIs("wgmma")) return false;
  // From Blackwell on NVIDIA's frontend asks in another way for gradients that are the same in every run.
  if (gradients && current().capability() >= 100) return false;
  return dnn().library.problem().empty() && dnn().version() >= kLeastVersion;
}

bool compute(const AttentionProblem& p, const std::function<void()>& own) {
  if (!p.describable() || (p.work() < kWorthPlanning && !attentionIs("cudnn"))) return false;
  static thread_local std::map<std::vector<int64_t>, Plan> plans;
  const std::vector<int64_t> key = p.key();
  auto found = plans.find(key);
  if (found == plans.end()) {
    if (current().recording() || plans.size() >= kMostProblems) return false;
    found = plans.emplace(key, choose(p, own)).first;
    ++compared;
    taken += found->second != nullptr;
  }
  if (!found->second) return false;
  current().keep(found->second);
  if (run(found->second, p)) return true;
  warnOf(probeOf(p), "cuDNN", "own kernels", "a plan was refused, or had no room to work: " + lastDnnError());
  found->second = nullptr;
  --taken;
  return false;
}

}  // namespace

bool flashByLibrary(const FlashCall& call, const View& out, const View& logSumExp, const std::function<void()>& own) {
  return asked(call, false) && compute(AttentionProblem(call, out, logSumExp), own);
}

bool flashGradByLibrary(const FlashCall& call, const View& out, const View& logSumExp, const View& grad, const View& dq,
                        const View& dk, const View& dv, const std::function<void()>& own) {
  return asked(call, true) && compute(AttentionProblem(call, out, logSumExp, grad, dq, dk, dv), own);
}

std::string describeFlashByLibrary() {
  if (!dnn().library.problem().empty()) return "without cuDNN";
  if (dnn().version() < kLeastVersion) return "without cuDNN, which does it from 9.15.1 on";
  const std::string share = text(int(taken), " of ", int(compared));
  if (attentionIs("cudnn")) return "by cuDNN, unchecked, as ANNEAL_CUDA_ATTENTION says: " + share + " problems";
  if (compared == 0) return "of large problems by cuDNN where that gives the same and is faster";
  return "large problems that cuDNN computes, and faster: " + share;
}

}  // namespace anneal::cuda

#else

namespace anneal::cuda {

bool flashByLibrary(const FlashCall&, const View&, const View&, const std::function<void()>&) { return false; }
bool flashGradByLibrary(const FlashCall&, const View&, const View&, const View&, const View&, const View&, const View&,
                        const std::function<void()>&) {
  return false;
}
std::string describeFlashByLibrary() { return "without cuDNN"; }

}  // namespace anneal::cuda

#endif
