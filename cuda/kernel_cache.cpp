#include "kernel_cache.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "core/error.h"

namespace anneal::cuda {
namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kMost = uintmax_t(256) << 20;
constexpr char kMagic[8] = {'A', 'N', 'K', 'E', 'R', 'N', '0', '1'};

/// FNV-1a (Fowler, Noll, Vo). It names files and finds damage; that a file belongs to a key, the key in it says.
uint64_t hashOf(std::string_view data, uint64_t hash = 0xcbf29ce484222325u) {
  for (const char c : data) hash = (hash ^ uint8_t(c)) * 0x100000001b3u;
  return hash;
}

/// Empty: there is none.
fs::path folder() {
  if (const char* given = std::getenv("ANNEAL_CUDA_CACHE")) return given;
  if (const char* caches = std::getenv("XDG_CACHE_HOME"); caches && *caches)
    return fs::path(caches) / "anneal" / "cuda";
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".cache" / "anneal" / "cuda";
  return {};
}

fs::path pathOf(const std::string& key) {
  char name[32];
  std::snprintf(name, sizeof name, "%016llx.kernel", static_cast<unsigned long long>(hashOf(key)));
  return folder() / name;
}

/// Of an entry: then come the key and the code.
struct Head {
  char magic[8];
  uint64_t keyBytes, codeBytes, hash;  // of key and code
};

/// Removes the entries that were used least recently until the rest is half of what may be.
void shrink() {
  struct Entry {
    fs::path path;
    fs::file_time_type used;
    uintmax_t bytes;
  };
  std::vector<Entry> entries;
  uintmax_t total = 0;
  std::error_code error;
  for (const auto& file : fs::directory_iterator(folder(), error)) {
    const uintmax_t bytes = file.file_size(error);
    if (error) continue;
    entries.push_back({file.path(), file.last_write_time(error), bytes});
    total += bytes;
  }
  if (total <= kMost) return;
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& e : entries) {
    if (total <= kMost / 2) break;
    fs::remove(e.path, error);
    total -= e.bytes;
  }
}

std::optional<std::string> read(const std::string& key) {
  std::ifstream file(pathOf(key), std::ios::binary);
  Head head;
  if (!file.read(reinterpret_cast<char*>(&head), sizeof head)) return {};
  if (std::memcmp(head.magic, kMagic, sizeof kMagic) != 0 || head.keyBytes != key.size() || head.codeBytes > kMost)
    return {};
  std::string found(key.size(), '\0'), code(head.codeBytes, '\0');
  if (!file.read(found.data(), int64_t(found.size())) || !file.read(code.data(), int64_t(code.size()))) return {};
  if (found != key || hashOf(code, hashOf(key)) != head.hash) return {};
  return code;
}

void write(const std::string& key, const std::string& code) {
  static std::atomic<int> number{0};
  std::error_code error;
  fs::create_directories(folder(), error);
  const fs::path path = pathOf(key), partial = path.string() + text('.', getpid(), '.', ++number);
  Head head{.keyBytes = key.size(), .codeBytes = code.size(), .hash = hashOf(code, hashOf(key))};
  std::memcpy(head.magic, kMagic, sizeof kMagic);
  std::ofstream file(partial, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&head), sizeof head);
  file.write(key.data(), int64_t(key.size()));
  file.write(code.data(), int64_t(code.size()));
  file.close();
  if (file) fs::rename(partial, path, error);
  if (!file || error) fs::remove(partial, error);
  if (number % 64 == 1) shrink();
}

}  // namespace

std::optional<std::string> findCode(const std::string& key) try {
  if (folder().empty()) return {};
  auto code = read(key);
  std::error_code error;
  if (code) fs::last_write_time(pathOf(key), fs::file_time_type::clock::now(), error);
  return code;
} catch (const std::exception&) {
  return {};
}

void keepCode(const std::string& key, const std::string& code) try {
  if (!folder().empty()) write(key, code);
} catch (const std::exception&) {  // the next process compiles it again
}

void forgetCode(const std::string& key) {
  std::error_code error;
  if (!folder().empty()) fs::remove(pathOf(key), error);
}

}  // namespace anneal::cuda
