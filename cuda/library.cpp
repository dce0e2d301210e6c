#include "library.h"

#include <dlfcn.h>
#include <link.h>

#include <filesystem>

#include "core/error.h"
#include "folders.h"

namespace anneal::cuda {
namespace {

/// The file that a handle stands for, where the dynamic loader looked for it.
std::string fileOf(void* handle, const std::string& asked) {
  link_map* map = nullptr;
  return dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map ? map->l_name : asked;
}

std::string enumerated(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : " or ") + name;
  return out;
}

}  // namespace

Library::Library(std::string title, const std::vector<std::string>& names, const std::string& remedy)
    : title_(std::move(title)), remedy_(remedy) {
  const LibraryFolders folders = libraryFolders();
  for (const std::string& folder : folders.chosen)
    for (const std::string& name : names)
      if (open(folder, name)) return;
  for (const std::string& name : names)
    for (const std::string& folder : folders.usual)
      if (open(folder, name)) return;
  problem_ = title_ +
             (damaged_.empty() ? " is missing (no " + enumerated(names) + " was found)"
                               : " cannot be loaded (" + damaged_ + ")") +
             ": " + remedy_ + ", or name the folder of its library in ANNEAL_CUDA_LIBRARIES";
}

bool Library::open(const std::string& folder, const std::string& name) {
  const std::string path = folder + name;
  std::error_code none;
  const bool there = !folder.empty() && std::filesystem::exists(path, none);
  if (!there && !folder.empty()) return false;
  handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_) path_ = there ? path : fileOf(handle_, name);
  else if (there && damaged_.empty()) damaged_ = dlerror();
  return handle_ != nullptr;
}

void* Library::symbol(const char* name) {
  if (!handle_) return nullptr;
  void* found = dlsym(handle_, name);
  if (!found && problem_.empty()) problem_ = title_ + " is too old: " + path_ + " lacks " + name + "; " + remedy_;
  return found;
}

std::string versionText(size_t number) { return text(number / 10000, '.', number / 100 % 100, '.', number % 100); }

}  // namespace anneal::cuda
