#pragma once
#include <string>
#include <string_view>

namespace anneal::cuda {

/// What makes kernels of sources at run time.
class Compiler {
 public:
  virtual ~Compiler() = default;
  /// Why there is none, with the remedy; empty: there is one.
  virtual const std::string& problem() const = 0;
  /// "NVRTC 13.0".
  virtual std::string version() const = 0;
  /// The code of a source for GPUs of a compute capability (90 for 9.0), with the names that kernels have in it
  /// untouched. Throws an Error (Device) with what the compiler says. Any thread may call it. `log`: if given, gets
  /// what the compiler says of a success. `ptx`: no machine code, but what it is made of.
  virtual std::string compile(const std::string& source, int capability, std::string* log = nullptr,
                              bool ptx = false) const = 0;
};

/// NVIDIA's, which is opened when it is first asked for. It needs no GPU.
const Compiler& nvrtc();
/// The emulator's: a C++ compiler. Not in a library for GPUs.
const Compiler& emulatedCompiler();

}  // namespace anneal::cuda
