// What stands for NVRTC in the emulator: the C++ compiler that built it, which makes a library of each source.
#include "compiler.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "core/error.h"
#include "loaded.h"
#include "races.h"
#include "translated.h"

extern char** environ;

namespace anneal {
namespace {

namespace fs = std::filesystem;

/// A folder for temporary files, until this goes.
class Folder {
 public:
  Folder() : path_((fs::temp_directory_path() / "anneal-emulate-XXXXXX").string()) {
    require(mkdtemp(path_.data()) != nullptr, Code::Device, "emulator: no temporary folder: ", std::strerror(errno));
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  std::string file(const char* name) const { return path_ + '/' + name; }

 private:
  std::string path_;
};

std::string contentOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void writeTo(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
}

/// Runs a program, its output going to a file, and gives its exit status. Libraries that were loaded into this process
/// by name, such as a sanitizer's, stay out of it.
int runProgram(const std::vector<std::string>& words, const std::string& output) {
  std::vector<char*> arguments, environment;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  for (char** entry = environ; *entry; ++entry)
    if (std::strncmp(*entry, "LD_PRELOAD=", 11) != 0) environment.push_back(*entry);
  environment.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child = 0;
  const int failed = posix_spawn(&child, arguments[0], &actions, nullptr, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed) return 127;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/// This library, against which kernels are linked: the thread that they run in is known here.
std::string ownPath() {
  Dl_info self;
  return dladdr(reinterpret_cast<const void*>(&ownPath), &self) ? self.dli_fname : "";
}

class EmulatedCompiler final : public cuda::Compiler {
 public:
  EmulatedCompiler() {
    const char* given = std::getenv("ANNEAL_CUDA_EMULATE_COMPILER");
    path_ = given ? given : ANNEAL_EMULATE_COMPILER;
    if (access(path_.c_str(), X_OK) != 0)
      problem_ = "the emulator has no C++ compiler for them: there is no " + path_ +
                 "; name one in ANNEAL_CUDA_EMULATE_COMPILER";
    else if (emulate::translatedPath()) problem_ = cuda::nvrtc().problem();
  }
  const std::string& problem() const override { return problem_; }
  std::string version() const override {
    return (emulate::translatedPath() ? cuda::nvrtc().version() + " and " : "") + "emulated by " + path_ +
           " " ANNEAL_EMULATE_FLAGS;
  }

  std::string compile(const std::string& source, int capability, std::string* log, bool) const override {
    const Folder folder;
    const std::string from = folder.file("fused.cpp"), to = folder.file("fused.so"), output = folder.file("output");
    if (emulate::translatedPath()) translate(cuda::nvrtc().compile(source, capability, nullptr, true), from, folder);
    else writeTo(from, source);
    run(command(from, to), output);
    if (log) *log = contentOf(output);
    return contentOf(to);
  }

 private:
  /// What makes a library of a file.
  std::vector<std::string> command(const std::string& from, const std::string& to) const {
    const std::string root = ANNEAL_EMULATE_SOURCES;
    std::vector<std::string> words{path_, "-std=c++20", "-O1", "-fPIC", "-shared", "-w"};
    words.insert(words.end(), {"-DANNEAL_CUDA_EMULATE", "-DANNEAL_CUDA_EMULATE_KERNEL", "-I" + root + "/emulate"});
    words.insert(words.end(), {"-I" + root, "-I" + root + "/../native"});
    if (emulate::translatedPath()) words.insert(words.end(), {"-ffp-contract=off", "-march=native"});
    // Their shared memory is where races are looked for; ThreadSanitizer's own library stays out of it.
    if (emulate::translatedPath() && emulate::kWatched)
      words.insert(words.end(), {"-DANNEAL_EMULATE_RACES", "-fsanitize=thread", "-nodefaultlibs"});
    std::istringstream flags(ANNEAL_EMULATE_FLAGS);
    for (std::string flag; flags >> flag;) words.push_back(flag);
    words.insert(words.end(), {from, ownPath(), "-o", to});
    return words;
  }
  static void run(const std::vector<std::string>& words, const std::string& output) {
    const int status = runProgram(words, output);
    require(status == 0, Code::Device, words[0], " ended with ", status, ": ", contentOf(output));
  }
  /// Writes PTX as C++: see ptx/translate.mjs.
  static void translate(const std::string& ptx, const std::string& to, const Folder& folder) {
    writeTo(folder.file("fused.ptx"), ptx.c_str());  // what NVRTC gives ends with a 0
    const std::string script = ANNEAL_EMULATE_SOURCES "/emulate/ptx/translate.mjs";
    run({"/proc/self/exe", script, folder.file("fused.ptx"), to, "fused.cu"}, folder.file("output"));
  }

  std::string path_, problem_;
};

}  // namespace

const cuda::Compiler& cuda::emulatedCompiler() {
  static const auto* compiler = new EmulatedCompiler;
  return *compiler;
}

emulate::KernelCall emulate::loadKernel(const std::string& code) {
  const Folder folder;
  const std::string path = folder.file("fused.so");
  writeTo(path, code);
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  require(library != nullptr, Code::Device, "emulator: ", dlerror());
  if (const auto made = reinterpret_cast<const Translated* (*)()>(dlsym(library, "fusedTranslated")))
    return {made()->run, made()->staticBytes, made()};
  const auto run = reinterpret_cast<void (*)(void**)>(dlsym(library, "fusedCall"));
  require(run != nullptr, Code::Device, "emulator: a library without the kernel");
  return {run, 0, nullptr};
}

}  // namespace anneal
