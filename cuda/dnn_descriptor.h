#pragma once
// cuDNN 9's functions and descriptions, for builds that have its declarations.
#include <cudnn_graph.h>

#include <string>
#include <utility>
#include <vector>

#include "library.h"

namespace anneal::cuda {

/// The functions that are used, from whichever release of cuDNN 9 is there.
struct DnnFunctions {
#if defined(ANNEAL_CUDA_EMULATE)  // NVIDIA's cannot work on the emulator's memory
  Library library{"cuDNN 9", {"libcudnn-emulated.so"}, "name the folder dnn/ of the emulator's build"};
#else
  Library library{"cuDNN 9",
                  {"libcudnn.so.9", "libcudnn_graph.so.9"},
                  "pip install nvidia-cudnn-cu13, or apt install libcudnn9-cuda-13"};
#endif
  decltype(&cudnnGetVersion) version = library.find<decltype(&cudnnGetVersion)>("cudnnGetVersion");
  decltype(&cudnnGetErrorString) describe = library.find<decltype(&cudnnGetErrorString)>("cudnnGetErrorString");
  decltype(&cudnnGetLastErrorString) lastError =
      library.find<decltype(&cudnnGetLastErrorString)>("cudnnGetLastErrorString");
  decltype(&cudnnCreate) create = library.find<decltype(&cudnnCreate)>("cudnnCreate");
  decltype(&cudnnSetStream) setStream = library.find<decltype(&cudnnSetStream)>("cudnnSetStream");
  decltype(&cudnnBackendCreateDescriptor) make =
      library.find<decltype(&cudnnBackendCreateDescriptor)>("cudnnBackendCreateDescriptor");
  decltype(&cudnnBackendDestroyDescriptor) forget =
      library.find<decltype(&cudnnBackendDestroyDescriptor)>("cudnnBackendDestroyDescriptor");
  decltype(&cudnnBackendSetAttribute) set =
      library.find<decltype(&cudnnBackendSetAttribute)>("cudnnBackendSetAttribute");
  decltype(&cudnnBackendGetAttribute) get =
      library.find<decltype(&cudnnBackendGetAttribute)>("cudnnBackendGetAttribute");
  decltype(&cudnnBackendFinalize) finish = library.find<decltype(&cudnnBackendFinalize)>("cudnnBackendFinalize");
  decltype(&cudnnBackendExecute) execute = library.find<decltype(&cudnnBackendExecute)>("cudnnBackendExecute");
};

inline const DnnFunctions& dnn() {
  static const DnnFunctions functions;
  return functions;
}

/// What cuDNN says of the last call of this thread that failed.
inline std::string lastDnnError() {
  char said[512] = "";
  dnn().lastError(said, sizeof said);
  return said;
}

/// Thrown where cuDNN does not take what it is asked; caught by whoever looks for another way.
struct Refused {};

inline void want(cudnnStatus_t status) {
  if (status != CUDNN_STATUS_SUCCESS) throw Refused();
}

/// One of cuDNN's descriptions, which are made of attributes.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) { want(dnn().make(type, &at_)); }
  Descriptor(Descriptor&& other) noexcept : at_(std::exchange(other.at_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(at_, other.at_);
    return *this;
  }
  ~Descriptor() {
    if (at_) (void)dnn().forget(at_);
  }
  cudnnBackendDescriptor_t get() const { return at_; }

  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                  const void* values) {
    want(dnn().set(at_, name, type, count, values));
    return *this;
  }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    return set(name, type, 1, &value);
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const std::vector<int64_t>& values) {
    return set(name, CUDNN_TYPE_INT64, int64_t(values.size()), values.data());
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& other) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, other.at_);
  }
  Descriptor& finish() {
    want(dnn().finish(at_));
    return *this;
  }

 private:
  cudnnBackendDescriptor_t at_ = nullptr;
};

}  // namespace anneal::cuda
