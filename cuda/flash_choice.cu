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

constexpr int kThreads = 256, kMostDevices = 64, kKinds = 8;

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
  bool masked;

  explicit Kind(const FlashCall& call)
      : dtype(call.q.dtype),
        depth(std::max(call.q.shape[3], call.v.shape[3]) <= 64 ? 64 : 128),
        masked(call.mask.defined || !(call.attrs.scale > 0)) {}
  int number() const { return 4 * (dtype == DType::Float16) + 2 * (depth == 128) + masked; }
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

/// How many of a small problem's results differ by more than rounding. Waits for the GPU.
int othersOf(const Kind& kind, bool causal) {
  constexpr int kQueries = 200, kKeys = 328;  // several tiles, the last ones not full
  const Shape ofQueries{1, 1, kQueries, kind.depth}, ofKeys{1, 1, kKeys, kind.depth}, ofSums{1, 1, kQueries};
  const Probe q(ofQueries, kind.dtype), k(ofKeys, kind.dtype), v(ofKeys, kind.dtype);
  const Probe out(ofQueries, kind.dtype), other(ofQueries, kind.dtype);
  const Probe sums(ofSums, DType::Float32), otherSums(ofSums, DType::Float32);
  const Scratch count(sizeof(int));
  q.fill(1);
  k.fill(1u << 16);
  v.fill(1u << 17);
  ops::Flash attrs;
  attrs.causal = causal;
  attrs.scale = kind.masked ? -0.5 : 0.5;
  View none;
  none.defined = false;
  const FlashCall call{q.view, k.view, v.view, none, attrs};
  flashByWarps(call, out.view, sums.view);
  flashByGroups(call, other.view, otherSums.view);
  check(cudaMemsetAsync(count.as<int>(), 0, sizeof(int), stream()), "attention");
  by16Bits(kind.dtype, [&]<class T>(TypeTag<T>) { compare<T>(out, other, 1.0f / 64, count.as<int>()); });
  compare<float>(sums, otherSums, 1.0f / 256, count.as<int>());
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
      text("anneal: attention of ", kind.dtype, " heads of ", kind.depth, " is computed by mma.sync on ",
           current().name(), ", wgmma cannot be used: ", found, '\n');
  std::fputs(warning.c_str(), stderr);
  return Verdict::Other;
}

bool groupsServe(const FlashCall& call) {
  if (!hasGroups() || chosen("mma")) return false;
  if (chosen("wgmma")) return true;
  const Kind kind(call);
  auto& verdict = verdicts[size_t(current().index() * kKinds + kind.number())];
  if (verdict == Verdict::None) {
    if (current().recording()) return false;  // nothing can be compared now
    verdict = judge(kind);
  }
  return verdict == Verdict::Same;
}

}  // namespace

void flashOnTensorCores(const FlashCall& call, const View& out, const View& logSumExp) {
  if (groupsServe(call)) flashByGroups(call, out, logSumExp);
  else flashByWarps(call, out, logSumExp);
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
  return text("kinds of heads for which wgmma gives what mma.sync gives: ", same, " of ", same + other,
              other > 0 ? "; the others are computed by mma.sync" : "");
}

}  // namespace anneal::cuda
