// Compiling CUDA C++ at run time by NVRTC.
#include <dlfcn.h>

#include <vector>

#include "compiler.h"
#include "core/error.h"
#include "embedded.h"
#include "library.h"

namespace anneal::cuda {
namespace {

// NVRTC's interface, the same in all versions since 11.1: declared here, since its header need not be there.
using Program = struct ProgramOfNvrtc*;
using Status = int;  // 0: success
constexpr const char* kRemedy = "pip install nvidia-cuda-nvrtc, or apt install cuda-nvrtc-13-0";
constexpr Status kInvalidOption = 5, kCompilation = 6;

/// The functions that are used, from whichever version is there.
class Nvrtc final : public Compiler {
 public:
  Nvrtc();
  const std::string& problem() const override { return problem_; }
  std::string version() const override { return text("NVRTC ", major_, '.', minor_); }
  std::string compile(const std::string& source, int capability, std::string* log, bool ptx) const override;

 private:
  /// A program until this goes.
  struct Building {
    const Nvrtc& nvrtc;
    Program program = nullptr;
    ~Building() {
      if (program) nvrtc.destroy_(&program);
    }
  };
  int newestFor(int capability) const;
  std::string logOf(Program program) const;
  void check(Status status, const char* what) const;

  Library library_{"NVRTC", {"libnvrtc.so.13", "libnvrtc.so.12"}, kRemedy};
  Status (*getVersion_)(int*, int*) = library_.find<decltype(getVersion_)>("nvrtcVersion");
  Status (*countArchitectures_)(int*) = library_.find<decltype(countArchitectures_)>("nvrtcGetNumSupportedArchs");
  Status (*architectures_)(int*) = library_.find<decltype(architectures_)>("nvrtcGetSupportedArchs");
  const char* (*describe_)(Status) = library_.find<decltype(describe_)>("nvrtcGetErrorString");
  Status (*create_)(Program*, const char*, const char*, int, const char* const*,
                    const char* const*) = library_.find<decltype(create_)>("nvrtcCreateProgram");
  Status (*destroy_)(Program*) = library_.find<decltype(destroy_)>("nvrtcDestroyProgram");
  Status (*compile_)(Program, int, const char* const*) = library_.find<decltype(compile_)>("nvrtcCompileProgram");
  Status (*codeSize_)(Program, size_t*) = library_.find<decltype(codeSize_)>("nvrtcGetCUBINSize");
  Status (*code_)(Program, char*) = library_.find<decltype(code_)>("nvrtcGetCUBIN");
  Status (*ptxSize_)(Program, size_t*) = library_.find<decltype(ptxSize_)>("nvrtcGetPTXSize");
  Status (*ptx_)(Program, char*) = library_.find<decltype(ptx_)>("nvrtcGetPTX");
  Status (*logSize_)(Program, size_t*) = library_.find<decltype(logSize_)>("nvrtcGetProgramLogSize");
  Status (*log_)(Program, char*) = library_.find<decltype(log_)>("nvrtcGetProgramLog");
  std::string problem_;
  int major_ = 0, minor_ = 0;
  std::vector<int> known_;  // compute capabilities, ascending
};

/// NVRTC looks for its part with the built-in functions by name alone: it is found if it is loaded already.
Nvrtc::Nvrtc() : problem_(library_.problem()) {
  if (!problem_.empty()) return;
  getVersion_(&major_, &minor_);
  const std::string folder = library_.path().substr(0, library_.path().rfind('/') + 1),
                    part = text("libnvrtc-builtins.so.", major_, '.', minor_);
  if (!dlopen((folder + part).c_str(), RTLD_NOW | RTLD_LOCAL) && !dlopen(part.c_str(), RTLD_NOW | RTLD_LOCAL))
    problem_ = text("NVRTC lacks ", part, ", which belongs to ", library_.path(), ": ", kRemedy);
  int count = 0;
  if (countArchitectures_(&count) == 0 && count > 0) {
    known_.resize(size_t(count));
    architectures_(known_.data());
  }
}

/// The newest that NVRTC knows up to `capability`.
int Nvrtc::newestFor(int capability) const {
  int best = 0;
  for (int known : known_)
    if (known <= capability && known > best) best = known;
  require(best > 0, Code::Device, version(), " knows no GPU as old as compute capability ", capability / 10, '.',
          capability % 10);
  return best;
}

std::string Nvrtc::logOf(Program program) const {
  size_t size = 0;
  if (logSize_(program, &size) != 0 || size <= 1) return "";
  std::string out(size, '\0');
  log_(program, out.data());
  out.resize(size - 1);
  return out;
}

void Nvrtc::check(Status status, const char* what) const {
  require(status == 0, Code::Device, version(), ": ", what, " failed: ", describe_(status));
}

std::string Nvrtc::compile(const std::string& source, int capability, std::string* log, bool ptx) const {
  require(problem_.empty(), Code::Device, problem_);
  std::vector<const char*> names, texts;
  for (const Header& h : embeddedHeaders()) {
    names.push_back(h.name);
    texts.push_back(h.text);
  }
  Building building{*this};
  check(create_(&building.program, source.c_str(), "fused.cu", int(names.size()), texts.data(), names.data()),
        "taking a source");
  // A GPU that is newer than NVRTC gets code that its driver translates.
  const int target = newestFor(capability);
  const bool exact = target == capability && !ptx;
  const std::string architecture = text("--gpu-architecture=", exact ? "sm_" : "compute_", target);
  // Products of one operation are not contracted with sums of the next: results are those of the operations one by one.
  std::vector<const char*> options{architecture.c_str(), "--std=c++20", "--device-as-default-execution-space",
                                   "--fmad=false"};
  if (log) options.push_back("--ptxas-options=-v");
  const Status status = compile_(building.program, int(options.size()), options.data());
  require(status != kCompilation && status != kInvalidOption, Code::Device, version(), ": ", logOf(building.program));
  check(status, "compiling");
  if (log) *log = logOf(building.program);
  size_t size = 0;
  check((exact ? codeSize_ : ptxSize_)(building.program, &size), "reading the code");
  std::string out(size, '\0');
  check((exact ? code_ : ptx_)(building.program, out.data()), "reading the code");
  return out;
}

}  // namespace

const Compiler& nvrtc() {
  static const auto* compiler = new Nvrtc;  // never destroyed: threads may compile while the process ends
  return *compiler;
}

}  // namespace anneal::cuda
