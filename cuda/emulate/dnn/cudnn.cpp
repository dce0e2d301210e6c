// A cuDNN for the emulated devices: it takes graphs of products, reductions and elementwise operations, by what NVIDIA
// documents of these, and computes what they describe. It refuses attributes that are missing, of a wrong type or of
// descriptions that are not finished, and memory that is not the device's, ends too early or is less aligned than was
// promised. Of the two engines that it proposes the first is noted as one whose results change from run to run, and
// gives NaN. ANNEAL_EMULATE_DNN=wrong has its results wrong, =refuse all runs fail.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string_view>

#include "work.h"

namespace emulate = anneal::emulate;
using emulate::Node;

struct EmulatedDnn {
  cudaStream_t stream = nullptr;
};
struct EmulatedDescriptor {
  std::shared_ptr<Node> node;
};

namespace {

constexpr int kEngines = 2, kChanges = 0;
constexpr int64_t kWorkspace = 256;
thread_local const char* lastError = "";

cudnnStatus_t refuse(const char* why, cudnnStatus_t status = CUDNN_STATUS_BAD_PARAM) {
  lastError = why;
  return status;
}

bool modeIs(std::string_view mode) {
  const char* given = std::getenv("ANNEAL_EMULATE_DNN");
  return given && mode == given;
}

size_t sizeOf(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN: return sizeof(bool);
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_HANDLE: return sizeof(int64_t);
    default: return sizeof(int);
  }
}

using Names = std::set<cudnnBackendAttributeName_t>;

/// What a description must have.
Names needed(const Node& node) {
  switch (node.type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
      return {CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_ATTR_TENSOR_DIMENSIONS,
              CUDNN_ATTR_TENSOR_STRIDES,        CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_ATTR_TENSOR_IS_VIRTUAL,
              CUDNN_ATTR_TENSOR_IS_BY_VALUE};
    case CUDNN_BACKEND_POINTWISE_DESCRIPTOR: return {CUDNN_ATTR_POINTWISE_MODE, CUDNN_ATTR_POINTWISE_MATH_PREC};
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
      return {CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
              CUDNN_ATTR_OPERATION_POINTWISE_YDESC};
    case CUDNN_BACKEND_MATMUL_DESCRIPTOR: return {CUDNN_ATTR_MATMUL_COMP_TYPE};
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
      return {CUDNN_ATTR_OPERATION_MATMUL_ADESC, CUDNN_ATTR_OPERATION_MATMUL_BDESC, CUDNN_ATTR_OPERATION_MATMUL_CDESC,
              CUDNN_ATTR_OPERATION_MATMUL_DESC};
    case CUDNN_BACKEND_REDUCTION_DESCRIPTOR: return {CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_ATTR_REDUCTION_COMP_TYPE};
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
      return {CUDNN_ATTR_OPERATION_REDUCTION_DESC, CUDNN_ATTR_OPERATION_REDUCTION_XDESC,
              CUDNN_ATTR_OPERATION_REDUCTION_YDESC};
    case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR:
      return {CUDNN_ATTR_OPERATION_RESHAPE_XDESC, CUDNN_ATTR_OPERATION_RESHAPE_YDESC};
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
      return {CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_ATTR_OPERATIONGRAPH_OPS};
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
      return {CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_ATTR_ENGINEHEUR_MODE};
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
      return {CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG};
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
      return {CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
              CUDNN_ATTR_VARIANT_PACK_WORKSPACE};
    default: return {};
  }
}

/// Tells of descriptions that were made for the caller.
cudnnStatus_t give(const Node& from, cudnnBackendAttributeName_t name, int64_t* count, void* values) {
  auto* const to = static_cast<cudnnBackendDescriptor_t*>(values);
  if (name == CUDNN_ATTR_ENGINECFG_ENGINE) {
    to[0]->node->engine = from.engine;
    *count = 1;
    return CUDNN_STATUS_SUCCESS;
  }
  *count = from.number(CUDNN_ATTR_ENGINEHEUR_MODE) == CUDNN_HEUR_MODE_A ? kEngines : 0;
  for (int i = 0; i < *count; ++i) {
    Node& config = *to[i]->node;
    config.finished = true;
    config.engine = i;
    config.nodes = from.nodes;
  }
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

size_t cudnnGetVersion() { return 999999; }
const char* cudnnGetErrorString(cudnnStatus_t status) { return status == CUDNN_STATUS_SUCCESS ? "success" : "refused"; }
void cudnnGetLastErrorString(char* message, size_t size) { std::snprintf(message, size, "%s", lastError); }

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new EmulatedDnn;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  *descriptor = new EmulatedDescriptor{std::make_shared<Node>(Node{.type = type})};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete descriptor;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  for (const auto name : needed(*descriptor->node))
    if (!descriptor->node->has(name)) return refuse("an attribute is missing");
  descriptor->node->finished = true;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  Node& node = *descriptor->node;
  if (node.finished) return refuse("an attribute of a description that is finished");
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    for (int64_t i = 0; i < count; ++i) {
      const auto& other = static_cast<const cudnnBackendDescriptor_t*>(values)[i]->node;
      if (!other->finished) return refuse("a description that is not finished");
      node.nodes[name].push_back(other);
    }
    return CUDNN_STATUS_SUCCESS;
  }
  for (int64_t i = 0; i < count; ++i) {
    const auto* const at = static_cast<const std::byte*>(values) + size_t(i) * sizeOf(type);
    int64_t value = 0;
    std::memcpy(&value, at, sizeOf(type));
    node.numbers[name].push_back(value);
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t asked, int64_t* count, void* values) {
  const Node& node = *descriptor->node;
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR && asked >= 1) return give(node, name, count, values);
  *count = 1;
  if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) *static_cast<int64_t*>(values) = kWorkspace;
  else if (name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE)
    *static_cast<cudnnBackendNumericalNote_t*>(values) =
        node.engine == kChanges ? CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC : CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
  else return refuse("an attribute that is not known");
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
  const Node& config = plan->node->node(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  if (modeIs("refuse")) return refuse("a run that fails", CUDNN_STATUS_EXECUTION_FAILED);
  const auto& names = pack->node->list(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto& pointers = pack->node->list(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  const auto* const workspace = reinterpret_cast<const void*>(pack->node->number(CUDNN_ATTR_VARIANT_PACK_WORKSPACE));
  if (emulate::memoryOf(workspace, kWorkspace) != emulate::Memory::Device) return refuse("no working memory");
  std::map<int64_t, std::byte*> places;
  for (size_t i = 0; i < names.size(); ++i) places[names[i]] = reinterpret_cast<std::byte*>(pointers.at(i));
  const auto& graph = config.nodes.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH).at(0);
  auto work = std::make_shared<emulate::Work>(graph, places);
  if (!work->sound()) return refuse("an operand is missing, or is not the device's memory, or not aligned");
  work->spoil(config.engine == kChanges ? NAN : modeIs("wrong") ? 2 : 1);
  if (emulate::defers(handle->stream)) emulate::defer(handle->stream, [work] { work->run(); });
  else work->run();
  return CUDNN_STATUS_SUCCESS;
}
