// Whether attention's forward pass is computed by groups of warps (flash_hopper.cu): on Hopper, and only if it gives
// there what single warps give.
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "device.h"
#include "flash.cuh"
#include "value.h"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256, kMostDevices = 64, kKinds = 16;

enum class Verdict : char { None, Same, Other };
/// By device and kind of kernel.
std::array<std::atomic<Verdict>, kMostDevices * kKinds> verdicts{};

bool chosen(std::string_view what) {
  const char* given = std::getenv("ANNEAL_CUDA_ATTENTION");
  return given && what == given;
}

bool hasGroups() {
#if defined(ANNEAL_CUDA_EMULATE)
  return true;
#else
  return current().capability() == 90;
#endif
}

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

/// Numbers between -1 and 1.
template <class T>
__global__ void __launch_bounds__(kThreads) fillProbe(T* to, int n, uint32_t salt) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  uint32_t bits = (uint32_t(i) + salt) * 2654435761u;
  bits = (bits ^ bits >> 15) * 2246822519u;
  to[i] = cpu::convertTo<T>(float((bits ^ bits >> 13) >> 8) / float(1 << 23) - 1.0f);
}

template <class T>
__global__ void __launch_bounds__(kThreads) compareProbe(const T* a, const T* b, int n, float most, int* others) {
  const int64_t i = threadNumber();
  if (i < n && !(fabsf(cpu::convertTo<float>(a[i]) - cpu::convertTo<float>(b[i])) <= most)) atomicAdd(others, 1);
}

/// A tensor in working memory.
struct Probe {
  Scratch memory;
  View view;

  Probe(Shape shape, DType dtype) : memory(size_t(shape.product()) * itemSize(dtype)) {
    view.memory = memory.as<std::byte>();
    view.shape = shape;
    view.strides = contiguousStrides(shape);
    view.dtype = dtype;
  }
  void fill(uint32_t salt) const {
    by16Bits(view.dtype, [&]<class T>(TypeTag<T>) {
      launch(fillProbe<T>, blocksFor(view.size(), kThreads), kThreads, 0, stream(), view.as<T>(), int(view.size()),
             salt);
    });
  }
};

template <class T>
void compare(const Probe& a, const Probe& b, float most, int* others) {
  const int n = int(a.view.size());
  launch(compareProbe<T>, blocksFor(n, kThreads), kThreads, 0, stream(), a.view.as<T>(), b.view.as<T>(), n, most,
         others);
}

/// Attention of a small problem, with several tiles, of which the last ones are not full, and its gradients, by one
/// way.
struct Results {
#if defined(ANNEAL_CUDA_EMULATE)
  static constexpr int kQueries = 72, kKeys = 200;
#else
  static constexpr int kQueries = 200, kKeys = 328;
#endif
  Probe out, dq, dk, dv, sums;

  explicit Results(const Kind& kind)
      : out({1, 1, kQueries, kind.depth}, kind.dtype),
        dq({1, 1, kQueries, kind.depth}, kind.dtype),
        dk({1, 1, kKeys, kind.depth}, kind.dtype),
        dv({1, 1, kKeys, kind.depth}, kind.dtype),
        sums({1, 1, kQueries}, DType::Float32) {}
};

/// How many of the results differ by more than rounding. Waits for the GPU.
int othersOf(const Kind& kind, bool causal) {
  const Shape ofQueries{1, 1, Results::kQueries, kind.depth}, ofKeys{1, 1, Results::kKeys, kind.depth};
  const Probe q(ofQueries, kind.dtype), k(ofKeys, kind.dtype), v(ofKeys, kind.dtype), grad(ofQueries, kind.dtype);
  const Results warps(kind), groups(kind);
  const Scratch count(sizeof(int));
  uint32_t salt = 1;
  for (const Probe* probe : {&q, &k, &v, &grad}) probe->fill(salt++ << 16);
  ops::Flash attrs;
  attrs.causal = causal;
  attrs.scale = kind.masked ? -0.5 : 0.5;
  View none;
  none.defined = false;
  const FlashCall call{q.view, k.view, v.view, none, none, attrs};
  check(cudaMemsetAsync(count.as<int>(), 0, sizeof(int), stream()), "attention");
  flashByWarps(call, warps.out.view, warps.sums.view);
  if (kind.gradients) {
    const auto run = [&](auto& way, const Results& to) {
      way(call, warps.out.view, warps.sums.view, grad.view, to.dq.view, to.dk.view, to.dv.view);
    };
    run(flashGradByWarps, warps);
    run(flashGradByGroups, groups);
  } else {
    flashByGroups(call, groups.out.view, groups.sums.view);
    compare<float>(warps.sums, groups.sums, 1.0f / 256, count.as<int>());
  }
  by16Bits(kind.dtype, [&]<class T>(TypeTag<T>) {
    if (!kind.gradients) return compare<T>(warps.out, groups.out, 1.0f / 64, count.as<int>());
    for (const auto of : {&Results::dq, &Results::dk, &Results::dv})
      compare<T>(warps.*of, groups.*of, 1.0f / 16, count.as<int>());
  });
  int others = 0;
  check(cudaMemcpyAsync(&others, count.as<int>(), sizeof others, cudaMemcpyDeviceToHost, stream()), "attention");
  check(cudaStreamSynchronize(stream()), "attention");
  return others;
}

Verdict judge(const Kind& kind) {
  std::string found;
  try {
    const int others = othersOf(kind, false) + othersOf(kind, true);
    if (others == 0) return Verdict::Same;
    found = text(others, " of a small problem's results differ");
  } catch (const Error& e) {
    found = e.what();
  }
  const std::string warning =
      text("anneal: ", kind.gradients ? "gradients of attention" : "attention", " of ", kind.dtype, " heads of ",
           kind.depth, " is computed by mma.sync on ", current().name(), ", wgmma cannot be used: ", found, '\n');
  std::fputs(warning.c_str(), stderr);
  return Verdict::Other;
}

bool groupsServe(const FlashCall& call, bool gradients) {
  if (!hasGroups() || chosen("mma") || call.attrs.dropoutP > 0) return false;
  if (chosen("wgmma")) return true;
  const Kind kind(call, gradients);
  auto& verdict = verdicts[size_t(current().index() * kKinds + kind.number())];
  if (verdict == Verdict::None) {
    if (current().recording()) return false;  // nothing can be compared now
    verdict = judge(kind);
  }
  return verdict == Verdict::Same;
}

}  // namespace

void flashOnTensorCores(const FlashCall& call, const View& out, const View& logSumExp) {
  (groupsServe(call, false) ? flashByGroups : flashByWarps)(call, out, logSumExp);
}

void flashGradOnTensorCores(const FlashCall& call, const View& out, const View& logSumExp, const View& grad,
                            const View& dq, const View& dk, const View& dv) {
  (groupsServe(call, true) ? flashGradByGroups : flashGradByWarps)(call, out, logSumExp, grad, dq, dk, dv);
}

std::string describeAttention() {
  if (chosen("mma")) return "by mma.sync, as ANNEAL_CUDA_ATTENTION says";
  if (chosen("wgmma")) return "by wgmma on compute capability 9.0, unchecked, as ANNEAL_CUDA_ATTENTION says";
  int same = 0, other = 0;
  for (const auto& verdict : verdicts) {
    same += verdict == Verdict::Same;
    other += verdict == Verdict::Other;
  }
  if (same + other == 0) return "by mma.sync, on compute capability 9.0 by wgmma if that gives the same";
  return text("kinds of kernels that give by wgmma what they give by mma.sync: ", same, " of ", same + other,
              other > 0 ? "; the others are computed by mma.sync" : "");
}

}  // namespace anneal::cuda
