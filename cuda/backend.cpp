#include "runtime/backend.h"

#include <dlfcn.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>

#include "blas.h"
#include "collectives.h"
#include "device.h"
#include "dnn.h"
#include "flash.h"
#include "fused.h"
#include "kernels.h"
#include "launch.h"
#include "map.h"
#include "nccl.h"

namespace anneal::cuda {
namespace {

constexpr int kMostDevices = 64;

#if defined(ANNEAL_CUDA_EMULATE)

/// Two, so that tests have some that differ.
std::vector<int> usable() { return {0, 1}; }
std::string problem() { return ""; }
std::vector<std::pair<std::string, std::string>> versions() {
  return {{"runtime", "emulated on the CPU: a tool for tests"}};
}

#else

constexpr int kLeastCapability = 80;

std::string version(int number) { return text(number / 1000, '.', number % 1000 / 10); }

int capabilityOf(int index) {
  int major = 0, minor = 0;
  (void)cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index);
  (void)cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index);
  return 10 * major + minor;
}

/// The numbers of the GPUs that are new enough.
std::vector<int> findUsable() {
  int count = 0;
  std::vector<int> out;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return out;
  for (int i = 0; i < count; ++i)
    if (capabilityOf(i) >= kLeastCapability) out.push_back(i);
  return out;
}
const std::vector<int>& usable() {
  static const std::vector<int> found = findUsable();
  return found;
}

std::string problem() {
  if (!dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL))
    return "the NVIDIA driver is missing (libcuda.so.1 cannot be loaded); install version 580 or later, or in a "
           "container pass the GPU through (docker run --gpus all)";
  int driver = 0, runtime = 0, count = 0;
  (void)cudaDriverGetVersion(&driver);
  (void)cudaRuntimeGetVersion(&runtime);
  const cudaError_t state = cudaGetDeviceCount(&count);
  (void)cudaGetLastError();
  if (state == cudaErrorInsufficientDriver || driver / 1000 < runtime / 1000)
    return text("the NVIDIA driver is too old: it supports CUDA ", version(driver), ", and this build of Anneal needs ",
                version(runtime / 1000 * 1000), "; update the driver to version 580 or later");
  if (state == cudaErrorNoDevice || (state == cudaSuccess && count == 0))
    return "there is no NVIDIA GPU that this process may use; nvidia-smi lists them, and CUDA_VISIBLE_DEVICES hides "
           "them";
  if (state != cudaSuccess)
    return text("the GPU cannot be used: ", cudaGetErrorName(state), " (", cudaGetErrorString(state),
                "); see whether nvidia-smi works");
  if (usable().empty())
    return text("the GPU has compute capability ", capabilityOf(0) / 10, '.', capabilityOf(0) % 10,
                "; Anneal needs 8.0 (Ampere, 2020) or later");
  return "";
}

std::vector<std::pair<std::string, std::string>> versions() {
  int driver = 0, runtime = 0;
  (void)cudaDriverGetVersion(&driver);
  (void)cudaRuntimeGetVersion(&runtime);
  return {{"driver", driver ? "CUDA " + version(driver) : "none"}, {"runtime", "CUDA " + version(runtime)}};
}

#endif

std::array<std::atomic<CudaDevice*>, kMostDevices> made{};

int devices() { return int(std::min<size_t>(usable().size(), kMostDevices)); }

Device& deviceAt(int index) {
  static std::mutex making;
  auto& place = made[size_t(index)];
  if (CudaDevice* known = place.load(std::memory_order_acquire)) return *known;
  std::lock_guard lock(making);
  // Never destroyed: its threads run until the process is gone.
  if (!place.load()) place.store(new CudaDevice(index, usable()[size_t(index)]));
  return *place.load();
}

std::vector<Device*> started() {
  std::vector<Device*> out;
  for (auto& place : made)
    if (CudaDevice* d = place.load()) out.push_back(d);
  return out;
}

std::vector<std::pair<std::string, std::string>> describe() {
  auto out = versions();
  if (Dl_info self; dladdr(reinterpret_cast<const void*>(&devices), &self) && self.dli_fname)
    out.emplace(out.begin(), "library", self.dli_fname);
  for (int i = 0; i < devices(); ++i) out.emplace_back(text("cuda:", i), hardwareOf(usable()[size_t(i)]));
  out.emplace_back("cuBLASLt", describeBlas());
  out.emplace_back("cuDNN", describeDnn());
  out.emplace_back("attention", describeAttention());
  out.emplace_back("NCCL", describeNccl());
  out.emplace_back("joined operations", describeRuntimeKernels());
  return out;
}

void transfer(Device& from, Device& to, const Transfer& what) {
  static_cast<CudaDevice&>(to).pull(static_cast<CudaDevice&>(from), what);
}

std::string fusionProblem(Device& device) { return runtimeKernelProblem(static_cast<CudaDevice&>(device)); }

void prepare(Device& device, const Row& row, const void* attrs, std::span<const View> in, std::span<const View> out) {
  prepareFused(static_cast<CudaDevice&>(device), row, attrs, in, out);
}

}  // namespace

int ordinalOf(const CudaDevice& device) { return usable()[size_t(device.index())]; }

}  // namespace anneal::cuda

extern "C" const anneal::Backend* anneal_backend() {
  using namespace anneal::cuda;
  implementMaps();
  implementCollectives();
  static const anneal::Backend backend{anneal::kBackendVersion, problem, devices, deviceAt, started, describe, transfer,
                                       fusionProblem,           prepare};
  return &backend;
}
