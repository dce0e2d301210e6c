#pragma once
#include <string>
#include <vector>

namespace anneal::cuda {

/// A library that is opened at run time, in whichever of several versions is there.
class Library {
 public:
  /// `names`: file names, the preferred first; `remedy`: how to get it.
  Library(std::string title, const std::vector<std::string>& names, const std::string& remedy);
  /// What is missing and what to do; empty: nothing.
  const std::string& problem() const { return problem_; }
  template <class F>
  F find(const char* name) {
    return reinterpret_cast<F>(symbol(name));
  }

 private:
  void* symbol(const char* name);
  std::string title_, problem_, remedy_;
  void* handle_ = nullptr;
};

/// Whether libraries may round float32 factors to TF32, of 10 bits, for several times the speed: by choice,
/// ANNEAL_CUDA_TF32=1.
bool fastFloat32();

}  // namespace anneal::cuda
