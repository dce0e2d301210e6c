#include "runtime/backend.h"

#include <dlfcn.h>

#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>

#include "op/row.h"
#include "runtime/cpu_device.h"

namespace anneal {
namespace {

constexpr const char* kLibrary = "libanneal_cuda.so";
constexpr const char* kRemedy =
    "npm install @anneal/linux-x64-cuda13, of the version of anneal, or set ANNEAL_CUDA_PATH to the library";

std::mutex loading;
std::string offered, unfit;       // see offerCudaLibrary
const Backend* opened = nullptr;  // also where it has no device
std::atomic<const Backend*> loaded{nullptr};

/// Where the library may be, the likeliest first.
std::vector<std::string> candidates() {
  if (const char* path = std::getenv("ANNEAL_CUDA_PATH")) return {path};
  std::vector<std::string> out;
  if (!offered.empty()) out.push_back(offered);
  Dl_info self;
  if (dladdr(reinterpret_cast<const void*>(&anneal::device), &self) && self.dli_fname) {
    const std::string path = self.dli_fname;
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    // Beside the core, or in a package beside the core's.
    for (const char* place : {"", "../linux-x64-cuda13/"}) out.push_back(folder + place + kLibrary);
  }
  out.emplace_back(kLibrary);
  return out;
}

/// The library, or null with what the dynamic loader says: rather of a file that is there than of one that is not.
void* openLibrary(std::string& reason) {
  bool found = false;
  for (const std::string& path : candidates()) {
    if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)) return library;
    const std::string why = dlerror();
    std::error_code none;
    const bool there = std::filesystem::exists(path, none);
    if (reason.empty() || (there && !found)) reason = why;
    found |= there;
  }
  return nullptr;
}

const Backend* load(std::string& problem) {
  if (!unfit.empty() && !std::getenv("ANNEAL_CUDA_PATH")) {
    problem = unfit;
    return nullptr;
  }
  std::string reason;
  void* library = openLibrary(reason);
  if (!library) {
    problem = text("the library of the CUDA backend cannot be loaded (", reason, "); ", kRemedy);
    return nullptr;
  }
  const auto entry = reinterpret_cast<decltype(&anneal_backend)>(dlsym(library, "anneal_backend"));
  const Backend* backend = entry ? entry() : nullptr;
  if (!backend || std::strcmp(backend->version, kBackendVersion) != 0) {
    problem = text("the library of the CUDA backend belongs to another version of Anneal; ", kRemedy);
    return nullptr;
  }
  opened = backend;
  Registry::get().rows();  // takes in its kernels
  problem = backend->problem();
  return problem.empty() ? backend : nullptr;
}

}  // namespace

const Backend* cudaBackend(std::string& problem) {
  static std::string why;
  static bool tried = false;
  std::lock_guard lock(loading);
  if (!std::exchange(tried, true)) loaded.store(load(why));
  problem = why;
  return loaded.load();
}

void offerCudaLibrary(std::string path, std::string problem) {
  std::lock_guard lock(loading);
  offered = std::move(path);
  unfit = std::move(problem);
}

std::vector<std::pair<std::string, std::string>> describeCuda() {
  (void)cudaProblem();
  std::lock_guard lock(loading);
  return opened ? opened->describe() : std::vector<std::pair<std::string, std::string>>{};
}

std::string cudaProblem() {
  std::string problem;
  cudaBackend(problem);
  return problem;
}

Device& device(DeviceType type, int index) {
  if (type == DeviceType::Cpu) [[likely]] {
    static auto* cpu = new CpuDevice;  // never destroyed: its thread runs until the process is gone
    return *cpu;
  }
  std::string problem;
  const Backend* cuda = cudaBackend(problem);
  require(cuda != nullptr, Code::Device, "device 'cuda' is not available: ", problem);
  require(index >= 0 && index < cuda->devices(), Code::Device, "device 'cuda:", index,
          "' does not exist: this machine has ", cuda->devices(), ", counted from 0");
  return cuda->device(index);
}

Device& deviceNamed(std::string_view name) {
  if (name == "cpu") return device();
  if (name == "cuda") return device(DeviceType::Cuda);
  std::string problem;
  if (name == "auto") return cudaBackend(problem) ? device(DeviceType::Cuda) : device();
  int index = -1;
  if (name.starts_with("cuda:")) {
    const auto [end, error] = std::from_chars(name.data() + 5, name.data() + name.size(), index);
    if (error != std::errc{} || end != name.data() + name.size()) index = -1;
  }
  require(index >= 0, Code::Device, "there is no device '", name, "'; expected 'cpu', 'cuda', 'cuda:1' or 'auto'");
  return device(DeviceType::Cuda, index);
}

std::vector<Device*> allDevices() {
  std::vector<Device*> out{&device()};
  std::string problem;
  const Backend* cuda = cudaBackend(problem);
  for (int i = 0; cuda && i < cuda->devices(); ++i) out.push_back(&cuda->device(i));
  return out;
}

std::vector<Device*> startedDevices() {
  std::vector<Device*> out{&device()};
  if (const Backend* cuda = loaded.load())
    for (Device* d : cuda->started()) out.push_back(d);
  return out;
}

}  // namespace anneal
