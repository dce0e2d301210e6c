#pragma once
#include <cstdint>

#include "core/tensor.h"

namespace anneal {

/// The source of random keys: counter-based, so that a seed and a count give the same numbers anywhere.
struct Generator {
  int64_t seed = 0;
  int64_t offset = 0;
  /// A key for `count` numbers; four come from one step of the counter.
  Tensor next(int64_t count) {
    Tensor key = keyTensor(seed, offset);
    offset += (count + 3) / 4;
    return key;
  }
};

class Capture;

/// What belongs to one JavaScript environment (or one C++ thread): never shared between threads.
struct Context {
  bool gradEnabled = true;
  DType autocast = DType::Float32;  // the 16-bit dtype that products are computed in; Float32: none
  bool preferLower = false;         // run an op's composition rather than its kernel: how tests compare them
  Generator generator;
  int64_t differentiable = 0;  // how many calls have taken tensors that require gradients, recorded or not
  Device* device = nullptr;    // where tensors are made; none: on the CPU
  Capture* capture = nullptr;  // where calls go instead of running, while a function is captured
  static Context& current();
};

/// Makes `context` the calling thread's for as long as this lives.
class ContextScope {
 public:
  explicit ContextScope(Context& context);
  ~ContextScope();

 private:
  Context* before_;
};

/// Where tensors are made that depend on no others.
inline Device& defaultDevice() {
  Device* chosen = Context::current().device;
  return chosen ? *chosen : device();
}

/// Makes `device` the default for as long as this lives.
class DeviceScope {
 public:
  explicit DeviceScope(Device& device) : before_(Context::current().device) { Context::current().device = &device; }
  ~DeviceScope() { Context::current().device = before_; }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  Device* before_;
};

/// Turns the recording of gradients on or off for as long as this lives.
class GradMode {
 public:
  explicit GradMode(bool enabled) : before_(Context::current().gradEnabled) {
    Context::current().gradEnabled = enabled;
  }
  ~GradMode() { Context::current().gradEnabled = before_; }

 private:
  bool before_;
};

}  // namespace anneal
