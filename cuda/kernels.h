#pragma once
#include <memory>
#include <string>
#include <vector>

#include "device.h"

namespace anneal::cuda {

/// The bytes of a kernel's arguments, in their order.
class KernelArguments {
 public:
  template <class T>
  void add(const T* values, size_t count) {
    all_.emplace_back(reinterpret_cast<const std::byte*>(values), reinterpret_cast<const std::byte*>(values + count));
  }
  template <class T>
  void add(const T& value) {
    add(&value, 1);
  }
  std::vector<void*> pointers() const {
    std::vector<void*> out;
    for (const auto& bytes : all_) out.push_back(const_cast<std::byte*>(bytes.data()));
    return out;
  }
  std::vector<size_t> sizes() const {
    std::vector<size_t> out;
    for (const auto& bytes : all_) out.push_back(bytes.size());
    return out;
  }

 private:
  std::vector<std::vector<std::byte>> all_;
};

/// A kernel that is compiled at run time, in the background.
class RuntimeKernel {
 public:
  virtual ~RuntimeKernel() = default;
  /// Starts it on the calling device's stream, once it is compiled. Throws an Error (Device) where it could not be
  /// compiled.
  virtual void launch(unsigned blocks, dim3 threads, const KernelArguments& arguments) const = 0;
  /// Why it could not be compiled; empty: it could. Waits until that is known.
  virtual std::string problem() const = 0;
};

/// The kernel `fused` of a source for a device: its compilation begins, unless it has before.
std::shared_ptr<const RuntimeKernel> runtimeKernel(const CudaDevice& device, const std::string& source);

/// Why kernels cannot be compiled, with the remedy, or by whose choice they are not; empty: they can.
std::string runtimeKernelProblem();
/// The same of one device, on which the first call loads a kernel that does nothing: a driver may not take what the
/// compiler makes.
std::string runtimeKernelProblem(const CudaDevice& device);
/// What compiles them, for people.
std::string describeRuntimeKernels();
/// Lets the kernels in hand be compiled, and no others in the background: for the end of the process.
void quiesceRuntimeKernels();

}  // namespace anneal::cuda
