#include "translated.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>

#include "launch.h"

namespace anneal::emulate {
namespace {

constexpr std::string_view kMark = "_GLOBAL__N__";  // begins nvcc's name for what no other source has

/// The name of a kernel with its template's arguments, for people, but without its parameters: compilers write types
/// that depend on a template's arguments in different ways. nvcc gives what is in no other source a name with the
/// source's.
std::string plainName(std::string name) {
  for (size_t at; (at = name.find(kMark)) != std::string::npos;) {
    size_t digits = at;
    while (digits > 0 && std::isdigit(name[digits - 1])) --digits;
    // A number may follow another one: the length is that of a name, which begins with the source's hash.
    while (std::stoul(name.substr(digits, at - digits)) > name.size() - at) ++digits;
    name.replace(digits, at - digits + std::stoul(name.substr(digits, at - digits)), "12_GLOBAL__N_1");
  }
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                         std::free);
  if (status != 0) return name;
  std::string plain = text.get();
  size_t at = plain.rfind(')');
  for (int depth = at == std::string::npos ? 0 : 1; depth > 0;) {
    --at;
    depth += (plain[at] == ')') - (plain[at] == '(');
  }
  return plain.substr(0, at);
}

struct Known {
  /// From "source:name", or from a name that sources share; null where names are not enough to tell kernels apart.
  std::map<std::string, const Translated*> kernels;
  int capability = 90;
};
Known& known() {
  static auto& all = *new Known;
  return all;
}

/// Loads the library of what nvcc made, if there is to be one.
bool load() {
  const char* path = translatedPath();
  if (!path) return false;
  static const std::string problem = [&]() -> std::string {
    return dlopen(path, RTLD_NOW | RTLD_GLOBAL) ? "" : dlerror();
  }();
  if (!problem.empty()) throw std::runtime_error("emulator: ANNEAL_EMULATE_PTX: " + problem);
  return true;
}

/// The functions of this library, also those that are known in one source only.
std::map<uint64_t, std::string> symbolsOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(all.data());
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(all.data() + header->e_shoff);
  std::map<uint64_t, std::string> out;
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto* symbols = reinterpret_cast<const Elf64_Sym*>(all.data() + sections[i].sh_offset);
    const char* names = all.data() + sections[sections[i].sh_link].sh_offset;
    std::string source;
    for (size_t s = 0; s < sections[i].sh_size / sizeof *symbols; ++s) {
      const std::string name = names + symbols[s].st_name;
      const bool shared = ELF64_ST_BIND(symbols[s].st_info) != STB_LOCAL;
      if (ELF64_ST_TYPE(symbols[s].st_info) == STT_FILE) source = name;
      else if (ELF64_ST_TYPE(symbols[s].st_info) == STT_FUNC)
        out[symbols[s].st_value] = shared ? plainName(name) : source + ":" + plainName(name);
    }
  }
  return out;
}

std::string nameOf(const void* kernel) {
  Dl_info self;
  if (!dladdr(reinterpret_cast<const void*>(&nameOf), &self)) return "";
  static const auto& known = *new std::map<uint64_t, std::string>(symbolsOf(self.dli_fname));
  const auto found = known.find(uint64_t(kernel) - uint64_t(self.dli_fbase));
  return found == known.end() ? "" : found->second;
}

const Translated* find(const void* kernel) {
  const std::string name = nameOf(kernel);
  if (name.find("::Loaded::run") != std::string::npos) return nullptr;  // it runs what was compiled at run time
  const auto found = known().kernels.find(name);
  if (found == known().kernels.end() || !found->second)
    throw std::runtime_error("emulator: nvcc has made no kernel " + name);
  if (const char* journal = std::getenv("ANNEAL_EMULATE_PTX_JOURNAL"))
    std::ofstream(journal, std::ios::app) << found->second->name + std::string("\n");
  return found->second;
}

}  // namespace

bool addTranslated(const char* source, int capability, std::span<const Translated> made) {
  for (const Translated& kernel : made) {
    const bool own = std::string(kernel.name).find(kMark) != std::string::npos;
    const auto [at, added] = known().kernels.insert(
        {own ? std::string(source) + ":" + plainName(kernel.name) : plainName(kernel.name), &kernel});
    if (!added && own) at->second = nullptr;
  }
  known().capability = capability;
  return true;
}

const char* translatedPath() {
  static const char* path = std::getenv("ANNEAL_EMULATE_PTX");
  return path && *path ? path : nullptr;
}

int capability() {
  load();
  return known().capability;
}

void checkTranslated(const Translated& kernel, const std::vector<size_t>& bytes, dim3 block, size_t shared) {
  const auto refuse = [&](const std::string& what) {
    throw std::runtime_error("launch: " + what + ": " + kernel.name);
  };
  constexpr size_t kAlways = size_t(48) << 10;  // more is to be asked for, which launch() does by what is dynamic
  if (kernel.bytes != bytes) refuse("parameters have other sizes for the compiler of the kernel");
  if (block.x * block.y * block.z > kernel.threads) refuse("more threads than the kernel is compiled for");
  if (shared <= kAlways && kernel.staticBytes + shared > kAlways) refuse("shared memory that was not asked for");
}

const Translated* translationOf(const void* kernel, std::initializer_list<size_t> bytes, dim3 block, size_t shared) {
  static std::mutex mutex;
  static auto& found = *new std::map<const void*, const Translated*>;
  std::lock_guard lock(mutex);
  if (!load()) return nullptr;
  const auto at = found.find(kernel);
  const Translated* own = at != found.end() ? at->second : found[kernel] = find(kernel);
  if (own) checkTranslated(*own, bytes, block, shared);
  return own;
}

void runTranslated(const Translated& kernel, dim3 grid, dim3 block, size_t shared, void** arguments) {
  runGrid(
      grid, block, kernel.staticBytes + shared, [&] { kernel.run(arguments); }, true);
}

}  // namespace anneal::emulate
