#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace anneal::cuda {

/// A library that is opened at run time, in whichever of several versions is there: of the folders chosen by the user
/// the first that has one, else the preferred version wherever it is (see folders.h).
class Library {
 public:
  /// `names`: file names, the preferred first; `remedy`: how to get it.
  Library(std::string title, const std::vector<std::string>& names, const std::string& remedy);
  /// What is missing and what to do; empty: nothing.
  const std::string& problem() const { return problem_; }
  /// The file that was opened.
  const std::string& path() const { return path_; }
  template <class F>
  F find(const char* name) {
    return reinterpret_cast<F>(symbol(name));
  }

 private:
  bool open(const std::string& folder, const std::string& name);
  void* symbol(const char* name);
  std::string title_, problem_, remedy_, path_;
  std::string damaged_;  // what the loader says of the first file that is there and cannot be loaded
  void* handle_ = nullptr;
};

/// 130101 as 13.1.1.
std::string versionText(size_t number);

}  // namespace anneal::cuda
