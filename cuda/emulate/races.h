#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace anneal::emulate {

/// Whether kernels were compiled so that each of their accesses to memory is told to Races (ANNEAL_CUDA_RACES).
#if defined(ANNEAL_EMULATE_RACES)
constexpr bool kWatched = true;
#else
constexpr bool kWatched = false;
#endif

enum class Access : uint8_t { Read, Write, Atomic };

/// Finds two threads that touch the same byte of shared memory or of the device's without anything that orders them:
/// __syncthreads orders the threads of a block, __syncwarp those that its mask names, and nothing the blocks of a grid.
/// Shuffles and votes order no memory. Also finds shared memory that is read before the block has written it.
class Races {
 public:
  void beginGrid();
  void beginBlock(int64_t block, unsigned threads, const void* dynamic, size_t bytes);
  void syncBlock() { ++interval_; }
  void syncWarp(unsigned warp, uint32_t lanes);
  /// What is wrong with an access by a thread of the block; empty if nothing is.
  std::string touch(unsigned thread, const void* at, size_t bytes, Access access, const void* code);

 private:
  static constexpr size_t kPage = 256, kLanes = 32;

  /// A thread at some time.
  struct Mark {
    const void* code = nullptr;
    uint32_t block = 0, interval = 0, epoch = 0;
    uint16_t thread = 0;
    Access access = Access::Read;
  };
  struct Byte {
    Mark write;                 // the latest, or the latest atomic operation
    std::array<Mark, 2> reads;  // of different threads, if there were two
  };
  struct Page {
    uint64_t grid = 0;
    bool watched = false;
    std::array<Byte, kPage> bytes;
  };

  Page& pageOf(uintptr_t at);
  bool isShared(uintptr_t at) const;
  bool ordered(const Mark& before, const Mark& now) const;
  std::string touchByte(Byte& byte, const Mark& now, bool shared) const;

  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages_;
  uintptr_t last_ = 0;
  Page* lastPage_ = nullptr;
  uint64_t grid_ = 0;
  uint32_t block_ = 0, interval_ = 0;
  uintptr_t dynamic_ = 0;
  size_t dynamicBytes_ = 0;
  std::vector<std::array<uint32_t, kLanes>> clocks_;  // of each thread: what it knows of its warp's
};

/// An access of the thread that runs, by the code before this address.
void touch(const void* at, size_t bytes, Access access, const void* code);

}  // namespace anneal::emulate
