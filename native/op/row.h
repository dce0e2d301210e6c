#pragma once
#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "op/attributes.h"

namespace anneal {

using Tensors = std::vector<Tensor>;
using Inputs = std::span<const Tensor>;
using Specs = std::vector<Spec>;
using AttrsRef = std::shared_ptr<const void>;

namespace cpu {
struct LoopSet;
}

/// What an elementwise op computes of each element, for those who join several of them.
struct Pointwise {
  const cpu::LoopSet* loops = nullptr;
  int arity = 0, functor = -1;  // its place in the list of scalar functors of that many operands (cpu/scalar.h)
  std::array<double, 8> params{};
};

/// What a gradient sees of the forward call. A value is there if the row's `saves` lists it; shape and dtype always
/// are.
struct VjpCall {
  const void* attrs;
  const Tensors& in;
  const Tensors& out;
  const Tensors& grads;           // of the outputs; undefined where nothing flows back
  const std::vector<bool>& need;  // whether the gradient of an input is wanted
};

/// Which values a gradient reads, by index. Everything else is let go after the forward pass.
struct Saves {
  std::vector<int> inputs, outputs;
  bool allInputs = false;
};
inline const Saves kSaveInputs{.inputs = {}, .outputs = {}, .allInputs = true};

enum class Gradient { Vjp, Lower, NonDifferentiable };

/// One op: everything the system knows about it. `define.h` makes rows from typed functions.
class Row {
 public:
  int id = -1;
  std::string name, doc;
  std::vector<std::string> inputs;  // "bias?" is optional, "tensors..." any number (the last one only)
  std::vector<std::string> outputs;
  std::vector<Field> fields;
  Gradient gradient = Gradient::NonDifferentiable;
  Saves saves;
  bool method = true;       // offered as a method of the first input
  bool internal = false;    // not offered to JavaScript users (gradient helpers)
  bool anyStrides = false;  // kernels read inputs of any strides; else they get contiguous ones
  bool overwrites = false;  // kernels may write their only output over an input of its shape and dtype
  bool random = false;      // the last input is a key, drawn from the environment's generator when absent
  /// The input whose memory an output may take over when nobody else holds it, or -1. The caller gives that input up:
  /// its handle is to be pointed at the output.
  int (*donor)(size_t output, size_t inputs) = nullptr;
  bool keeps = false;  // where an input carries a fault, outputs get the values of their donors: updates

  std::function<std::shared_ptr<void>()> defaults;
  std::function<Specs(const void*, Inputs)> infer;
  std::function<Tensors(const void*, Inputs)> view;   // outputs that share the first input's memory
  std::function<Tensors(const void*, Inputs)> lower;  // the same result from other ops
  std::function<Tensors(const VjpCall&)> vjp;         // gradients of the inputs
  std::function<double(const void*, std::span<const View>, std::span<const View>)> cost;  // about scalar operations

  std::function<Pointwise(const void*)> pointwise;  // of elementwise ops
  using Kernel = std::function<void(const void*, std::span<const View>, std::span<const View>)>;
  std::array<Kernel, kDeviceTypes> kernels;

  /// Whether the kernel for that device can read the tensor as it lies.
  bool reads(const Tensor& t, DeviceType device) const;
  bool optional(size_t i) const { return inputs[i].back() == '?'; }
  bool variadic(size_t i) const { return inputs[i].ends_with("..."); }
  std::string inputName(size_t i) const;
  std::string describe(const void* attrs, Inputs in) const;
};

/// All rows, in the order of their names; ids are indices.
class Registry {
 public:
  static Registry& get();
  void add(std::unique_ptr<Row> row);
  void implement(const std::string& name, DeviceType device, Row::Kernel kernel);
  const std::vector<const Row*>& rows();
  const Row& row(int id);
  const Row& named(std::string_view name);

 private:
  void seal();
  std::vector<std::unique_ptr<Row>> added_;
  std::vector<std::tuple<std::string, DeviceType, Row::Kernel>> kernels_;
  std::vector<const Row*> sorted_;
};

/// Runs an op: the only way in. Infers, checks, records for gradients, and queues the kernel.
Tensors dispatch(const Row& row, Inputs inputs, const AttrsRef& attrs);

}  // namespace anneal
