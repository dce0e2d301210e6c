#include "runtime/float32.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "runtime/device.h"

namespace anneal {
namespace {

std::atomic<bool>& wanted() {
  static std::atomic<bool> fast = [] {
    const char* given = std::getenv("ANNEAL_CUDA_TF32");
    return given && std::string_view(given) == "1";
  }();
  return fast;
}

thread_local bool here = false;

}  // namespace

void setFastFloat32(bool fast) {
  wanted() = fast;
  for (Device* device : startedDevices()) device->enqueue([fast] { adoptFastFloat32(fast); });
}
bool fastFloat32() { return wanted(); }
bool fastFloat32Here() { return here; }
void adoptFastFloat32(bool fast) { here = fast; }

}  // namespace anneal
