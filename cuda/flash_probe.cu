// Whether some way computes attention as single warps do, by a small problem.
#include "flash_probe.h"

#include <cstdio>
#include <cstdlib>

#include "device.h"
#include "flash.cuh"
#include "value.h"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;
#if defined(ANNEAL_CUDA_EMULATE)
constexpr int kQueries = 72, kKeys = 200;
#else
constexpr int kQueries = 200, kKeys = 328;
#endif

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
  View heads() const { return ops::headsOf(view); }
};

template <class T>
void compare(const Probe& a, const Probe& b, float most, int* others) {
  const int n = int(a.view.size());
  launch(compareProbe<T>, blocksFor(n, kThreads), kThreads, 0, stream(), a.view.as<T>(), b.view.as<T>(), n, most,
         others);
}

/// [batch, time, heads, depth]
struct Shapes {
  Shape q, k, v, out, sums;

  explicit Shapes(const FlashProbe& p)
      : q{p.batch, kQueries, p.pairs * p.group, p.depth},
        k{p.batch, kKeys, p.pairs, p.depth},
        v{p.batch, kKeys, p.pairs, p.width},
        out{p.batch, kQueries, p.pairs * p.group, p.width},
        sums{p.batch, p.pairs * p.group, kQueries} {}
};

/// What one way makes of it.
struct Results {
  Probe out, dq, dk, dv, sums;

  Results(const Shapes& shapes, DType dtype)
      : out(shapes.out, dtype),
        dq(shapes.q, dtype),
        dk(shapes.k, dtype),
        dv(shapes.v, dtype),
        sums(shapes.sums, DType::Float32) {}
};

int othersOf(const FlashProbe& probe, const FlashWay& way, bool causal) {
  const Shapes shapes(probe);
  const Probe q(shapes.q, probe.dtype), k(shapes.k, probe.dtype), v(shapes.v, probe.dtype),
      grad(shapes.out, probe.dtype);
  const Results warps(shapes, probe.dtype), other(shapes, probe.dtype);
  const Scratch count(sizeof(int));
  uint32_t salt = 1;
  for (const Probe* operand : {&q, &k, &v, &grad}) operand->fill(salt++ << 16);
  ops::Flash attrs;
  attrs.causal = causal;
  attrs.scale = probe.scale;
  View none;
  none.defined = false;
  const View heads[] = {q.heads(), k.heads(), v.heads()};
  const FlashCall call{heads[0], heads[1], heads[2], none, none, attrs};
  check(cudaMemsetAsync(count.as<int>(), 0, sizeof(int), stream()), "attention");
  flashByWarps(call, warps.out.heads(), warps.sums.view);
  if (probe.gradients) {
    const auto run = [&](const auto& by, const Results& to) {
      by(call, warps.out.heads(), warps.sums.view, grad.heads(), to.dq.heads(), to.dk.heads(), to.dv.heads());
    };
    run(flashGradByWarps, warps);
    run(way.gradients, other);
  } else {
    way.forward(call, other.out.heads(), other.sums.view);
    compare<float>(warps.sums, other.sums, 1.0f / 256, count.as<int>());
  }
  by16Bits(probe.dtype, [&]<class T>(TypeTag<T>) {
    if (!probe.gradients) return compare<T>(warps.out, other.out, 1.0f / 64, count.as<int>());
    for (const auto of : {&Results::dq, &Results::dk, &Results::dv})
      compare<T>(warps.*of, other.*of, probe.group / 16.0f, count.as<int>());
  });
  int others = 0;
  check(cudaMemcpyAsync(&others, count.as<int>(), sizeof others, cudaMemcpyDeviceToHost, stream()), "attention");
  check(cudaStreamSynchronize(stream()), "attention");
  return others;
}

}  // namespace

bool attentionIs(std::string_view way) {
  const char* given = std::getenv("ANNEAL_CUDA_ATTENTION");
  return given && way == given;
}

int othersOf(const FlashProbe& probe, const FlashWay& way) {
  return othersOf(probe, way, false) + othersOf(probe, way, true);
}

void warnOf(const FlashProbe& probe, std::string_view way, std::string_view fallback, const std::string& reason) {
  const std::string warning =
      text("anneal: ", probe.gradients ? "gradients of attention" : "attention", " of ", probe.dtype, " heads of ",
           probe.depth, " is computed by ", fallback, " on ", current().name(), ", ", way, " cannot be used: ", reason,
           '\n');
  std::fputs(warning.c_str(), stderr);
}

}  // namespace anneal::cuda
