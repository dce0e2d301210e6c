#include "folders.h"

#include <dlfcn.h>
#include <glob.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace anneal::cuda {
namespace {

using Folders = std::vector<std::string>;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

/// The parts of a list separated by colons that are not empty.
Folders listed(const std::string& list) {
  Folders out;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ':');)
    if (!part.empty()) out.push_back(part);
  return out;
}

void add(Folders& to, const std::string& folder) {
  if (!folder.empty()) to.push_back(folder + "/");
}

/// Those that the pattern of a shell gives, the last by name first: python3.12 before python3.11, cuda-13.1
/// before 13.0.
void addMatching(Folders& to, const std::string& pattern) {
  glob_t found{};
  if (glob(pattern.c_str(), GLOB_ONLYDIR | GLOB_BRACE, nullptr, &found) == 0)
    for (size_t i = found.gl_pathc; i-- > 0;) add(to, found.gl_pathv[i]);
  globfree(&found);
}

/// NVIDIA's wheels among the packages of the Python that is installed below `prefix`.
void addWheels(Folders& to, const std::string& prefix) {
  if (!prefix.empty()) addMatching(to, prefix + "/lib/python3*/{site,dist}-packages/nvidia/*/lib");
}

/// Where the python3 that a shell would start has been installed: both what its path says and what links lead to.
Folders pythonPrefixes() {
  Folders out;
  for (const std::string& folder : listed(variable("PATH"))) {
    std::error_code none;
    const std::filesystem::path python = std::filesystem::path(folder) / "python3";
    if (!std::filesystem::exists(python, none)) continue;
    out.push_back(python.parent_path().parent_path());
    if (const auto real = std::filesystem::canonical(python, none); !none)
      out.push_back(real.parent_path().parent_path());
    break;
  }
  return out;
}

std::string ownFolder() {
  Dl_info self;
  if (!dladdr(reinterpret_cast<const void*>(&libraryFolders), &self) || !self.dli_fname) return "";
  return std::filesystem::path(self.dli_fname).parent_path();
}

}  // namespace

LibraryFolders libraryFolders() {
  LibraryFolders out;
  for (const std::string& folder : listed(variable("ANNEAL_CUDA_LIBRARIES"))) add(out.chosen, folder);
  Folders& usual = out.usual;
  add(usual, ownFolder());
  for (const std::string& folder : listed(variable("LD_LIBRARY_PATH"))) add(usual, folder);
  for (const char* toolkit : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const std::string root = variable(toolkit); !root.empty())
      for (const char* folder : {"/lib64", "/lib"}) add(usual, root + folder);
  }
  addWheels(usual, variable("VIRTUAL_ENV"));
  addWheels(usual, variable("CONDA_PREFIX"));
  if (const std::string conda = variable("CONDA_PREFIX"); !conda.empty()) add(usual, conda + "/lib");
  for (const std::string& packages : listed(variable("PYTHONPATH"))) addMatching(usual, packages + "/nvidia/*/lib");
  usual.emplace_back();
  addMatching(usual, "/usr/local/cuda/lib64");
  addMatching(usual, "/usr/local/cuda-1[0-9]*/lib64");
  for (const std::string& prefix : pythonPrefixes()) addWheels(usual, prefix);
  addWheels(usual, "/usr/local");
  if (const std::string home = variable("HOME"); !home.empty()) addWheels(usual, home + "/.local");
  return out;
}

}  // namespace anneal::cuda
