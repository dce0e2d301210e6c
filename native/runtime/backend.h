#pragma once
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/device.h"

namespace anneal {

class Row;

/// A copy of `bytes` from one device's block to another's. Both blocks live until it is done.
struct Transfer {
  Ref<Block> source;
  const std::byte* from;  // in `source`
  Ref<Block> target;
  size_t bytes;
};

/// What a backend in a library of its own gives to the core, which opens it when one of its devices is asked for. Its
/// kernels register themselves when it is loaded.
struct Backend {
  const char* version;                // of the core that it was built for: see kBackendVersion
  std::string (*problem)();           // why it has no device, with the remedy; empty: it has some
  int (*devices)();                   // how many
  Device& (*device)(int index);       // throws an Error (Device)
  std::vector<Device*> (*started)();  // those that were asked for so far
  std::vector<std::pair<std::string, std::string>> (*describe)();  // names and values, for people
  // From one of its devices to another, in the order of both streams, without waiting. Faults travel along.
  void (*transfer)(Device& from, Device& to, const Transfer& what);
  /// Why elementwise operations of a device's programs are not joined, with the remedy, or empty.
  std::string (*fusionProblem)(Device& device);
  /// Called for every operation of a program when it is planned, before the first run: compiles what is to be compiled,
  /// in the background. Views are without memory.
  void (*prepare)(Device& device, const Row& row, const void* attrs, std::span<const View> in,
                  std::span<const View> out);
};

/// Changes whenever core and backend can no longer be mixed.
inline constexpr const char* kBackendVersion = "7";

/// The CUDA backend, loaded at the first call, or null with the reason and the remedy.
const Backend* cudaBackend(std::string& problem);
/// Says where a package with the backend's library is installed, or what is wrong with the package: it is loaded from
/// there, unless ANNEAL_CUDA_PATH names another.
void offerCudaLibrary(std::string path, std::string problem);
/// What the backend's library says of the machine, also where there is no device for it; empty: there is no library.
std::vector<std::pair<std::string, std::string>> describeCuda();

}  // namespace anneal

/// What a backend's library exports.
extern "C" const anneal::Backend* anneal_backend();
