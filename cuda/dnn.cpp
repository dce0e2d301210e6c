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
#include "dnn_descriptor.h"
#include "launch.h"
#include "runtime/float32.h"
#include "timing.h"

namespace anneal::cuda {
namespace {

using cpu::ConvShape;

constexpr int64_t kMostWorkspace = int64_t(1) << 30;
constexpr int64_t kCandidates = 64;  // for float32 the first dozens round to TF32
constexpr size_t kCompared = 8;      // of those that are acceptable, by running them, where the problem is large
constexpr size_t kMostPlans = 4096;

cudnnDataType_t typeOf(DType dtype) {
  switch (dtype) {
    case DType::Float64: return CUDNN_DATA_DOUBLE;
    case DType::Float16: return CUDNN_DATA_HALF;
    case DType::BFloat16: return CUDNN_DATA_BFLOAT16;
    default: return CUDNN_DATA_FLOAT;
  }
}

/// With two spatial axes at least: fewer are not known to cuDNN.
ConvShape widened(ConvShape s) {
  if (s.rank() > 1) return s;
  for (Dims* d : {&s.in, &s.out, &s.kernel, &s.stride, &s.dilation}) d->insert(0, 1);
  s.before.insert(0, 0);
  s.after.insert(0, 0);
  return s;
}

constexpr int64_t kImage = 1, kWeight = 2, kResult = 3;  // names of the operands

struct Problem {
  ConvWay way;
  ConvShape shape;
  DType dtype;
  void *x, *weight, *y;

  double work() const {
    const ConvShape& s = shape;
    return 2.0 * double(s.batch) * double(s.out.product()) * double(s.outChannels) * double(s.kernel.product()) *
           double(s.groupIn());
  }
  int64_t alignment(const void* at) const {
    return reinterpret_cast<uintptr_t>(at) % 16 == 0 ? 16 : int64_t(itemSize(dtype));
  }
  /// What plans depend on.
  std::vector<int64_t> key() const {
    const ConvShape& s = shape;
    std::vector<int64_t> k{
        int64_t(way), int64_t(dtype), int64_t(fastFloat32Here()), s.batch,     s.inChannels, s.outChannels,
        s.groups,     alignment(x),   alignment(weight),          alignment(y)};
    for (const Dims* d : {&s.in, &s.out, &s.kernel, &s.stride, &s.dilation, &s.before, &s.after})
      k.insert(k.end(), d->begin(), d->end());
    return k;
  }
};

std::vector<int64_t> listOf(const Dims& d) { return {d.begin(), d.end()}; }

/// [count, spatial, channels] in memory, as the axes [count, channels, spatial] that cuDNN counts.
Descriptor tensorOf(int64_t name, const Problem& p, const void* memory, int64_t count, int64_t channels,
                    const Dims& spatial) {
  std::vector<int64_t> sizes{count, channels}, strides{spatial.product() * channels, 1};
  for (int i = 0; i < spatial.rank(); ++i) {
    sizes.push_back(spatial[i]);
    int64_t stride = channels;
    for (int j = i + 1; j < spatial.rank(); ++j) stride *= spatial[j];
    strides.push_back(stride);
  }
  Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, name)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, typeOf(p.dtype))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, p.alignment(memory))
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, sizes)
      .set(CUDNN_ATTR_TENSOR_STRIDES, strides);
  return std::move(d.finish());
}

/// How the three ways call their operands.
struct Names {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t convolution, x, weight, y, alpha, beta;
};

Names namesOf(ConvWay way) {
  switch (way) {
    case ConvWay::Forward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case ConvWay::Data:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    default:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
  }
}

Descriptor convolutionOf(const Problem& p) {
  const ConvShape& s = p.shape;
  Descriptor d(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  d.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE,
        p.dtype == DType::Float64 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, int64_t(s.rank()))
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, listOf(s.dilation))
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, listOf(s.stride))
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, listOf(s.before))
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, listOf(s.after));
  return std::move(d.finish());
}

Descriptor operationOf(const Problem& p) {
  const ConvShape& s = p.shape;
  const Names names = namesOf(p.way);
  const Descriptor convolution = convolutionOf(p), x = tensorOf(kImage, p, p.x, s.batch, s.inChannels, s.in),
                   weight = tensorOf(kWeight, p, p.weight, s.outChannels, s.groupIn(), s.kernel),
                   y = tensorOf(kResult, p, p.y, s.batch, s.outChannels, s.out);
  Descriptor d(names.operation);
  d.set(names.convolution, convolution).set(names.x, x).set(names.weight, weight).set(names.y, y);
  if (p.dtype == DType::Float64) d.set(names.alpha, CUDNN_TYPE_DOUBLE, 1.0).set(names.beta, CUDNN_TYPE_DOUBLE, 0.0);
  else d.set(names.alpha, CUDNN_TYPE_FLOAT, 1.0f).set(names.beta, CUDNN_TYPE_FLOAT, 0.0f);
  return std::move(d.finish());
}

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

  bool run(const Problem& p) {
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
  std::shared_ptr<const Plan> planFor(const Problem& p) const try {
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
  std::shared_ptr<const Plan> fastest(const Plans& plans, const Problem& p) const {
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
  bool tries(const Plan& plan, const Problem& p) const try { return execute(plan, p); } catch (const Error& e) {
    if (e.code() != Code::Memory) throw;
    return false;
  }

  /// False where cuDNN refuses.
  bool execute(const Plan& plan, const Problem& p) const try {
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
