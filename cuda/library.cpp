#include "library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <sstream>

namespace anneal::cuda {
namespace {

/// Folders besides those that the system looks in: ANNEAL_CUDA_LIBRARIES, separated by colons; "" is the system's own.
std::vector<std::string> folders() {
  std::vector<std::string> out;
  if (const char* given = std::getenv("ANNEAL_CUDA_LIBRARIES")) {
    std::istringstream list(given);
    for (std::string folder; std::getline(list, folder, ':');)
      if (!folder.empty()) out.push_back(folder + "/");
  }
  Dl_info self;
  if (dladdr(reinterpret_cast<const void*>(&folders), &self) && self.dli_fname) {
    const std::string path = self.dli_fname;
    if (const size_t slash = path.rfind('/'); slash != std::string::npos) out.push_back(path.substr(0, slash + 1));
  }
  out.emplace_back();
  return out;
}

}  // namespace

Library::Library(std::string title, const std::vector<std::string>& names, const std::string& remedy)
    : title_(std::move(title)), remedy_(remedy) {
  std::string reason;
  for (const std::string& folder : folders()) {
    for (const std::string& name : names) {
      handle_ = dlopen((folder + name).c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle_) return;
      reason = dlerror();
    }
  }
  problem_ = title_ + " is missing (" + reason + "): " + remedy_ +
             ", and name the folder of its library in ANNEAL_CUDA_LIBRARIES unless the system finds it";
}

void* Library::symbol(const char* name) {
  if (!handle_) return nullptr;
  void* found = dlsym(handle_, name);
  if (!found && problem_.empty()) problem_ = title_ + " is too old: it lacks " + name + "; " + remedy_;
  return found;
}

bool fastFloat32() {
  static const bool chosen = std::getenv("ANNEAL_CUDA_TF32") && *std::getenv("ANNEAL_CUDA_TF32") == '1';
  return chosen;
}

}  // namespace anneal::cuda
