// Joined elementwise operations, by kernels that are written for them and compiled at run time.
#include "fused.h"

#include <cstring>

#include "generate.h"
#include "graph/passes/chains.h"
#include "index.h"
#include "kernels.h"

namespace anneal::cuda {
namespace {

/// What is known of an operation before its memory is.
struct Prepared {
  Arrangement arrangement;
  std::vector<double> numbers;
  std::shared_ptr<const RuntimeKernel> kernel;
};

std::shared_ptr<const Prepared> preparedFor(const CudaDevice& device, const passes::Joined& attrs,
                                            std::span<const View> in, std::span<const View> out) {
  Arrangement arrangement(in, out);
  const std::string source = elementwiseSource(attrs.chain, arrangement);
  auto numbers = numbersOf(attrs.chain);
  numbers.resize(std::max<size_t>(1, numbers.size()));
  return std::make_shared<const Prepared>(
      Prepared{std::move(arrangement), std::move(numbers), runtimeKernel(device, source)});
}

/// Bits of the operands whose memory is aligned for packs.
uint32_t alignedOf(const Arrangement& a, std::span<const View> in, std::span<const View> out) {
  uint32_t bits = 0;
  for (size_t k = 0; k < in.size() + out.size(); ++k) {
    const View& v = k < in.size() ? in[k] : out[k - in.size()];
    if (reinterpret_cast<uintptr_t>(v.memory) % (size_t(a.width) * itemSize(v.dtype)) == 0) bits |= 1u << k;
  }
  return bits & a.aligned;
}

void joinedCuda(const Call<passes::Joined>& call) {
  const int64_t n = call.out[0].size();
  if (n == 0) return;
  if (!call.attrs.prepared) call.attrs.prepared = preparedFor(current(), call.attrs, call.in, call.out);
  const auto& prepared = *static_cast<const Prepared*>(call.attrs.prepared.get());
  const Arrangement& a = prepared.arrangement;
  // Sources<N>, Targets<N>, Numbers<N>, Axes<R, N> as they lie in memory: see fused.cuh.
  std::vector<const void*> sources;
  std::vector<void*> targets;
  for (const View& v : call.in) sources.push_back(v.memory);
  for (const View& v : call.in) {
    const void* value = nullptr;
    std::memcpy(&value, v.scalar.data(), sizeof value);
    sources.push_back(value);
  }
  for (const View& v : call.out) targets.push_back(v.memory);
  KernelArguments arguments;
  arguments.add(sources.data(), sources.size());
  arguments.add(targets.data(), targets.size());
  arguments.add(prepared.numbers.data(), prepared.numbers.size());
  if (a.strided) arguments.add(a.axes.data(), a.axes.size());
  arguments.add(alignedOf(a, call.in, call.out));
  arguments.add(n);
  prepared.kernel->launch(blocksFor(n, int64_t(kFusedThreads) * a.width), kFusedThreads, arguments);
}
const Implement<passes::Joined> joinedOnCuda("fusedElementwise", DeviceType::Cuda, joinedCuda);

}  // namespace

void prepareFused(CudaDevice& device, const Row& row, const void* attrs, std::span<const View> in,
                  std::span<const View> out) {
  if (&row != &passes::joined.row() || out[0].size() == 0) return;
  const auto& joined = *static_cast<const passes::Joined*>(attrs);
  joined.prepared = preparedFor(device, joined, in, out);
}

}  // namespace anneal::cuda
