// Has cuDNN make plans for attention on an H100 that is described to it, without a GPU, and says which engine and how
// much working memory each takes. Fails where there is none. cuDNN wants a driver's library (libcuda.so.1) beside it,
// of which it uses nothing but what copies descriptions: one whose functions do nothing is enough.
#include <cstdio>
#include <string>
#include <vector>

#include "dnn_attention.h"

namespace anneal::cuda {
namespace {

constexpr int kMissing = 77;  // exit status: there is no cuDNN that can work here

/// What cuDNN writes of a device, and reads again.
constexpr char kDevice[] =
    R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,)"
    R"("multiProcessorCount":132,"smCountOrigin":0,"warpSize":32,"maxSharedMemoryPerBlock":49152,)"
    R"("maxSharedMemoryPerBlockOptin":232448,"reservedSharedMemoryPerBlock":1024,"oversizedSharedMemoryPerBlock":0,)"
    R"("maxRegistersPerSM":65536,"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,)"
    R"("isTccDriver":0,"supportCoopLaunch":1,"totalGlobalMem":85029158912,"smClockRateKHz":1980000,)"
    R"("memClockRateKHz":2619000,"memoryBusWidth":5120,"l2CacheSize":52428800,"cudaDeviceId":0,"deviceVer":900,)"
    R"("driverVer":13000,"deviceName":"NVIDIA H100 80GB HBM3"})";

struct Case {
  int64_t batch, heads, pairs, queries, keys, depth, width;
  DType dtype = DType::BFloat16;
  bool joined = false;  // q, k and v side by side, as self-attention's projection leaves them
};
const Case kCases[] = {{8, 12, 12, 1024, 1024, 64, 64},
                       {64, 12, 12, 1024, 1024, 64, 64, DType::BFloat16, true},
                       {8, 12, 12, 1024, 1024, 64, 64, DType::Float16},
                       {4, 16, 16, 2048, 2048, 128, 128},
                       {2, 32, 8, 4096, 4096, 128, 128},
                       {8, 12, 12, 197, 197, 64, 64, DType::BFloat16, true},
                       {2, 4, 2, 133, 77, 80, 104},
                       {2, 4, 4, 40, 150, 24, 8, DType::Float16},
                       {1, 1, 1, 150, 40, 64, 64},
                       {8, 12, 12, 1, 300, 64, 64}};

View heads(const Case& c, int64_t count, int64_t time, int64_t depth, int64_t row) {
  static const int memory = 0;  // only whether it is aligned is asked
  View v;
  v.memory = reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(&memory) / 256 * 256);
  v.shape = {c.batch, count, time, depth};
  v.strides = contiguousStrides(v.shape);
  v.strides[0] = time * row;
  v.strides[1] = depth;
  v.strides[2] = row;
  v.dtype = c.dtype;
  return v;
}

int64_t numberOf(cudnnBackendDescriptor_t of, cudnnBackendAttributeName_t name) {
  int64_t number = 0, count = 0;
  want(dnn().get(of, name, CUDNN_TYPE_INT64, 1, &count, &number));
  return number;
}

/// What the heuristics' first plan is.
std::string planOf(const AttentionProblem& p, const Descriptor& device) {
  const Descriptor graph = graphOf(p, nullptr);
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR), config(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR),
      engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR), plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, CUDNN_HEUR_MODE_A)
      .set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device)
      .finish();
  cudnnBackendDescriptor_t first = config.get(), its = engine.get();
  int64_t count = 0;
  want(dnn().get(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &first));
  if (count == 0) throw Refused();
  want(dnn().get(first, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &its));
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device).set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config).finish();
  return text("engine ", numberOf(its, CUDNN_ATTR_ENGINE_GLOBAL_INDEX), ", ",
              numberOf(plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE), " bytes to work in");
}

AttentionProblem problemOf(const Case& c, bool causal, bool gradients) {
  static const View none = [] {
    View v;
    v.defined = false;
    return v;
  }();
  const int64_t joint = (c.heads + 2 * c.pairs) * c.depth;
  const auto rowOf = [&](int64_t count, int64_t depth) { return c.joined ? joint : count * depth; };
  const View q = heads(c, c.heads, c.queries, c.depth, rowOf(c.heads, c.depth)),
             k = heads(c, c.pairs, c.keys, c.depth, rowOf(c.pairs, c.depth)),
             v = heads(c, c.pairs, c.keys, c.width, rowOf(c.pairs, c.width)),
             out = heads(c, c.heads, c.queries, c.width, c.heads * c.width);
  View sums = out;
  sums.shape = {c.batch, c.heads, c.queries};
  ops::Flash attrs;
  attrs.causal = causal;
  const FlashCall call{q, k, v, none, none, attrs};
  return gradients ? AttentionProblem(call, out, sums, out, q, k, v) : AttentionProblem(call, out, sums);
}

int run() {
  if (!dnn().library.problem().empty()) {
    std::printf("%s\n", dnn().library.problem().c_str());
    return kMissing;
  }
  Descriptor device(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  device.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, int64_t(sizeof kDevice - 1), kDevice).finish();
  std::printf("cuDNN %s\n", versionText(dnn().version()).c_str());
  int failed = 0;
  for (const Case& c : kCases)
    for (const bool gradients : {false, true})
      for (const bool causal : {true, false}) {
        std::string found;
        try {
          found = planOf(problemOf(c, causal, gradients), device);
        } catch (const Refused&) {
          found = "no plan: " + lastDnnError();
          ++failed;
        }
        std::printf("%s%s of [%s]: %s\n", gradients ? "gradients" : "attention", causal ? ", causal," : "",
                    text(c.batch, ", ", c.heads, "/", c.pairs, ", ", c.queries, "/", c.keys, ", ", c.depth, "/",
                         c.width, c.joined ? " joined " : " ", c.dtype)
                        .c_str(),
                    found.c_str());
      }
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace anneal::cuda

int main() {
  try {
    return anneal::cuda::run();
  } catch (const anneal::cuda::Refused&) {
    std::printf("cuDNN takes no device that is only described: %s (it wants libcuda.so.1, and to be 9.8 or later)\n",
                anneal::cuda::lastDnnError().c_str());
    return anneal::cuda::kMissing;
  }
}
