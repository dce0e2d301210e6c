// How attention of 16-bit heads is computed: by cuDNN where that serves, else by groups of warps (flash_hopper.cu) on
// Hopper, and only if they give there what single warps give.
#include <array>
#include <atomic>

#include "device.h"
#include "flash.cuh"
#include "flash_probe.h"

namespace anneal::cuda {
namespace {

constexpr int kMostDevices = 64, kKinds = 16;

enum class Verdict : char { None, Same, Other };
/// By device and kind of kernel.
std::array<std::atomic<Verdict>, kMostDevices * kKinds> verdicts{};

/// A kernel of its own for each.
struct Kind {
  DType dtype;
  int depth;
  bool masked, gradients;

  Kind(const FlashCall& call, bool gradients)
      : dtype(call.q.dtype),
        depth(std::max(call.q.shape[3], call.v.shape[3]) <= 64 ? 64 : 128),
        masked(call.mask.defined || !(call.attrs.scale > 0)),
        gradients(gradients) {}
  int number() const { return 8 * gradients + 4 * (dtype == DType::Float16) + 2 * (depth == 128) + masked; }
};

Verdict judge(const Kind& kind) {
  const FlashProbe probe{kind.dtype, kind.depth, kind.depth, kind.gradients, 1, 1, 1, kind.masked ? -0.5 : 0.5};
  std::string found;
  try {
    const int others = othersOf(probe, {flashByGroups, flashGradByGroups});
    if (others == 0) return Verdict::Same;
    found = text(others, " of a small problem's results differ");
  } catch (const Error& e) {
    found = e.what();
  }
  warnOf(probe, "wgmma", "mma.sync", found);
  return Verdict::Other;
}

bool groupsServe(const FlashCall& call, bool gradients) {
  if (current().capability() != 90 || attentionIs("mma") || call.attrs.dropoutP > 0) return false;
  if (attentionIs("wgmma")) return true;
  const Kind kind(call, gradients);
  auto& verdict = verdicts[size_t(current().index() * kKinds + kind.number())];
  if (verdict == Verdict::None) {
    if (current().recording()) return false;  // nothing can be compared now
    verdict = judge(kind);
  }
  return verdict == Verdict::Same;
}

std::string describeGroups() {
  int same = 0, other = 0;
  for (const auto& verdict : verdicts) {
    same += verdict == Verdict::Same;
    other += verdict == Verdict::Other;
  }
  if (same + other == 0) return "by mma.sync, on compute capability 9.0 by wgmma if that gives the same";
  return text("kinds of kernels that give by wgmma what they give by mma.sync: ", same, " of ", same + other,
              other > 0 ? "; the others are computed by mma.sync" : "");
}

}  // namespace

void flashOnTensorCores(const FlashCall& call, const View& out, const View& logSumExp) {
  const auto own = [&] { (groupsServe(call, false) ? flashByGroups : flashByWarps)(call, out, logSumExp); };
  if (!flashByLibrary(call, out, logSumExp, own)) own();
}

void flashGradOnTensorCores(const FlashCall& call, const View& out, const View& logSumExp, const View& grad,
                            const View& dq, const View& dk, const View& dv) {
  const auto own = [&] {
    (groupsServe(call, true) ? flashGradByGroups : flashGradByWarps)(call, out, logSumExp, grad, dq, dk, dv);
  };
  if (!flashGradByLibrary(call, out, logSumExp, grad, dq, dk, dv, own)) own();
}

std::string describeAttention() {
  if (attentionIs("mma")) return "by mma.sync, as ANNEAL_CUDA_ATTENTION says";
  if (attentionIs("wgmma")) return "by wgmma on compute capability 9.0, unchecked, as ANNEAL_CUDA_ATTENTION says";
  return describeGroups() + "; " + describeFlashByLibrary();
}

}  // namespace anneal::cuda
