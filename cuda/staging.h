#pragma once
#include <cuda_runtime.h>

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace anneal::cuda {

/// Pinned memory of the host, through which data go to and come from a GPU: a few buffers in turn.
class Staging {
 public:
  static constexpr size_t kSize = size_t(8) << 20;
  struct Buffer {
    void* memory = nullptr;
    cudaEvent_t done = nullptr;  // when the copy that uses it has been made
    bool inFlight = false;
  };

  /// A buffer that nobody uses; waits where all are in use. Throws where there is no pinned memory.
  Buffer* take();
  /// Gives it back. With `copying`, its event has been recorded after the copy that still uses it.
  void give(Buffer* buffer, bool copying);

 private:
  static constexpr size_t kMost = 8;
  static Buffer* make();
  std::mutex mutex_;
  std::condition_variable given_;
  std::vector<Buffer*> free_;  // the longest unused first
  size_t made_ = 0;
};

}  // namespace anneal::cuda
