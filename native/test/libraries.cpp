// Where the CUDA backend looks for NVIDIA's libraries: with a library that every system has in their place.
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "folders.h"
#include "library.h"

using namespace anneal::cuda;
namespace fs = std::filesystem;

namespace {

constexpr const char* kVariables[] = {"ANNEAL_CUDA_LIBRARIES", "LD_LIBRARY_PATH", "CUDA_HOME",  "CUDA_PATH", "PATH",
                                      "VIRTUAL_ENV",           "CONDA_PREFIX",    "PYTHONPATH", "HOME"};

/// A folder of its own, and an environment in which nothing is set; both are as before at the end.
struct Room {
  const fs::path root;
  std::vector<std::pair<std::string, std::string>> before;

  Room() : root(fs::temp_directory_path() / ("anneal-libraries-" + std::to_string(getpid()))) {
    fs::create_directories(root);
    for (const char* name : kVariables) {
      if (const char* value = std::getenv(name)) before.emplace_back(name, value);
      unsetenv(name);
    }
  }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  ~Room() {
    for (const char* name : kVariables) unsetenv(name);
    for (const auto& [name, value] : before) setenv(name.c_str(), value.c_str(), 1);
    fs::remove_all(root);
  }

  void set(const char* name, const std::string& value) const { setenv(name, value.c_str(), 1); }
  std::string at(const std::string& place) const { return root / place; }
  /// The system's mathematics under another name.
  std::string put(const std::string& place) const {
    Dl_info mathematics;
    double (*const function)(double) = &std::cbrt;
    REQUIRE(dladdr(reinterpret_cast<const void*>(function), &mathematics) != 0);
    fs::create_directories((root / place).parent_path());
    fs::create_symlink(fs::canonical(mathematics.dli_fname), root / place);
    return at(place);
  }
};

Library open() { return {"Fake", {"libfake.so.2", "libfake.so.1"}, "install it"}; }

}  // namespace

TEST_CASE("a library that is nowhere is named, with the remedy") {
  const Room room;
  Library library = open();
  CHECK(library.problem() ==
        "Fake is missing (no libfake.so.2 or libfake.so.1 was found): install it, or name the folder of its library in "
        "ANNEAL_CUDA_LIBRARIES");
  CHECK(library.find<void*>("cbrt") == nullptr);
}

TEST_CASE("each of the places where wheels and toolkits put libraries is looked in") {
  const Room room;
  const auto opens = [&](const char* name, const std::string& value, const std::string& place) {
    const std::string file = room.put(place);
    room.set(name, room.at(value));
    Library library = open();
    CHECK(library.problem() == "");
    CHECK(library.path() == file);
    CHECK(library.find<void*>("cbrt") != nullptr);
    unsetenv(name);
    fs::remove(file);
  };
  opens("ANNEAL_CUDA_LIBRARIES", "mine", "mine/libfake.so.2");
  opens("LD_LIBRARY_PATH", "shared", "shared/libfake.so.1");
  opens("CUDA_HOME", "toolkit", "toolkit/lib64/libfake.so.2");
  opens("CUDA_PATH", "toolkit", "toolkit/lib/libfake.so.2");
  opens("VIRTUAL_ENV", "venv", "venv/lib/python3.12/site-packages/nvidia/cu13/lib/libfake.so.2");
  opens("CONDA_PREFIX", "conda", "conda/lib/libfake.so.2");
  opens("CONDA_PREFIX", "conda", "conda/lib/python3.11/site-packages/nvidia/cudnn/lib/libfake.so.2");
  opens("PYTHONPATH", "packages", "packages/nvidia/cudnn/lib/libfake.so.2");
  opens("HOME", "user", "user/.local/lib/python3.13/site-packages/nvidia/cu13/lib/libfake.so.2");
  fs::create_directories(room.root / "python/bin");
  std::ofstream(room.root / "python/bin/python3") << "";
  opens("PATH", "python/bin", "python/lib/python3.12/dist-packages/nvidia/cu13/lib/libfake.so.2");
}

TEST_CASE("what was chosen goes before what is usual, and then a newer version before an older one") {
  const Room room;
  room.set("ANNEAL_CUDA_LIBRARIES", room.at("first") + "::" + room.at("second"));
  room.set("LD_LIBRARY_PATH", room.at("third"));
  room.set("VIRTUAL_ENV", room.at("venv"));
  const std::string wheel = room.put("venv/lib/python3.12/site-packages/nvidia/cu13/lib/libfake.so.2");
  const std::string old = room.put("third/libfake.so.1");
  CHECK(open().path() == wheel);
  const std::string both = room.put("third/libfake.so.2");
  CHECK(open().path() == both);
  const std::string chosen = room.put("second/libfake.so.1");
  CHECK(open().path() == chosen);
  const std::string first = room.put("first/libfake.so.1");
  CHECK(open().path() == first);
}

TEST_CASE("a file that cannot be loaded is passed over, and named where nothing else is found") {
  const Room room;
  room.set("LD_LIBRARY_PATH", room.at("broken") + ":" + room.at("whole"));
  fs::create_directories(room.root / "broken");
  std::ofstream(room.root / "broken/libfake.so.2") << "no library";
  CHECK(open().problem().starts_with("Fake cannot be loaded (" + room.at("broken/libfake.so.2")));
  const std::string whole = room.put("whole/libfake.so.1");
  Library library = open();
  CHECK(library.path() == whole);
  CHECK(library.find<void*>("noSuchFunction") == nullptr);
  CHECK(library.problem() == "Fake is too old: " + whole + " lacks noSuchFunction; install it");
}
