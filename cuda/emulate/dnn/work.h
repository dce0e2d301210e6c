#pragma once
// How an emulated cuDNN computes a graph: operation after operation, as it is described, in double. Only what is
// stored is rounded: where NVIDIA's engines round between operations is their own affair.
#include <cmath>
#include <map>
#include <memory>
#include <vector>

#include "core/dtype.h"
#include "cpu/convert.h"
#include "cudnn_graph.h"
#include "launch.h"

namespace anneal::emulate {

using cpu::convertTo;

/// What a description holds. It is shared by those that it is an attribute of.
struct Node {
  cudnnBackendDescriptorType_t type;
  bool finished = false;
  int engine = 0;  // of a configuration: its place among those that the heuristics name
  std::map<cudnnBackendAttributeName_t, std::vector<int64_t>> numbers;  // integers, enumerators, pointers
  std::map<cudnnBackendAttributeName_t, std::vector<std::shared_ptr<const Node>>> nodes;

  bool has(cudnnBackendAttributeName_t name) const { return numbers.count(name) || nodes.count(name); }
  const std::vector<int64_t>& list(cudnnBackendAttributeName_t name) const { return numbers.at(name); }
  int64_t number(cudnnBackendAttributeName_t name) const { return numbers.at(name).at(0); }
  const Node& node(cudnnBackendAttributeName_t name) const { return *nodes.at(name).at(0); }
};

inline size_t sizeOf(int64_t type) {
  if (type == CUDNN_DATA_BOOLEAN) return 1;
  return type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_INT32 ? 4 : 2;
}

/// A tensor's description, with where it lies, if it lies anywhere.
struct Operand {
  const Node& node;
  std::byte* at = nullptr;

  const std::vector<int64_t>& sizes() const { return node.list(CUDNN_ATTR_TENSOR_DIMENSIONS); }
  const std::vector<int64_t>& strides() const { return node.list(CUDNN_ATTR_TENSOR_STRIDES); }
  int64_t type() const { return node.number(CUDNN_ATTR_TENSOR_DATA_TYPE); }
  int64_t name() const { return node.number(CUDNN_ATTR_TENSOR_UNIQUE_ID); }
  bool isVirtual() const { return node.number(CUDNN_ATTR_TENSOR_IS_VIRTUAL); }
  bool byValue() const { return node.number(CUDNN_ATTR_TENSOR_IS_BY_VALUE); }

  /// Whether all of it is memory of a device, aligned as was promised.
  bool lies() const {
    int64_t last = 0;
    for (size_t i = 0; i < 4; ++i) last += (sizes()[i] - 1) * strides()[i];
    return reinterpret_cast<uintptr_t>(at) % uintptr_t(node.number(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)) == 0 &&
           memoryOf(at, size_t(last + 1) * sizeOf(type())) == Memory::Device;
  }
  double load(int64_t i) const {
    switch (type()) {
      case CUDNN_DATA_HALF: return convertTo<double>(reinterpret_cast<const Half*>(at)[i]);
      case CUDNN_DATA_BFLOAT16: return convertTo<double>(reinterpret_cast<const BFloat16*>(at)[i]);
      default: return reinterpret_cast<const float*>(at)[i];
    }
  }
  void store(int64_t i, double value) const {
    switch (type()) {
      case CUDNN_DATA_HALF: reinterpret_cast<Half*>(at)[i] = convertTo<Half>(value); break;
      case CUDNN_DATA_BFLOAT16: reinterpret_cast<BFloat16*>(at)[i] = convertTo<BFloat16>(value); break;
      default: reinterpret_cast<float*>(at)[i] = float(value);
    }
  }
};

/// The elements of four axes, in order.
struct Values {
  std::vector<int64_t> sizes;
  std::vector<double> all;

  explicit Values(std::vector<int64_t> of) : sizes(std::move(of)) {
    all.resize(size_t(sizes[0] * sizes[1] * sizes[2] * sizes[3]));
  }
  double& at(int64_t b, int64_t h, int64_t i, int64_t j) {
    return all[size_t(((b * sizes[1] + h) * sizes[2] + i) * sizes[3] + j)];
  }
  /// Those that belong to a place among `whole`: of an axis of fewer elements each serves as many neighbours.
  double& of(const std::vector<int64_t>& whole, const int64_t (&place)[4]) {
    int64_t own[4];
    for (size_t i = 0; i < 4; ++i) own[i] = place[i] / (whole[i] / sizes[i]);
    return at(own[0], own[1], own[2], own[3]);
  }
};

template <class F>
void forEach(const std::vector<int64_t>& sizes, F&& f) {
  int64_t p[4];
  for (p[0] = 0; p[0] < sizes[0]; ++p[0])
    for (p[1] = 0; p[1] < sizes[1]; ++p[1])
      for (p[2] = 0; p[2] < sizes[2]; ++p[2])
        for (p[3] = 0; p[3] < sizes[3]; ++p[3]) f(p);
}

/// A graph that is being run.
class Work {
 public:
  Work(std::shared_ptr<const Node> graph, std::map<int64_t, std::byte*> places);
  /// Whether all that is not virtual has its memory. Numbers that come by value are read now.
  bool sound();
  /// Multiplies what is stored.
  void spoil(double by) { factor_ = by; }
  /// May be called again, as by a recorded graph.
  void run();

 private:
  using Name = cudnnBackendAttributeName_t;
  Operand operand(const Node& operation, Name name) const;
  Values& values(const Node& operation, Name name);
  /// With what f gives at each place. What is stored is read again by who needs it.
  template <class F>
  void fill(const Operand& to, F&& f);
  void multiply(const Node& operation);
  void elementwise(const Node& operation);
  void reduce(const Node& operation);
  void view(const Node& operation);

  std::shared_ptr<const Node> graph_;
  std::map<int64_t, std::byte*> places_;
  std::map<int64_t, Values> numbers_, known_;
  double factor_ = 1;
};

}  // namespace anneal::emulate
