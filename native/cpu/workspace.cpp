#include "cpu/workspace.h"

#include <sys/mman.h>

#include <array>
#include <cstdlib>
#include <new>

#include "core/access.h"

namespace anneal::cpu {
namespace {

constexpr size_t kHugePage = size_t(1) << 21;

class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  void* atLeast(size_t bytes) {
    if (bytes > capacity_) grow(bytes);
    allowAccess(data_, bytes);
    forbidAccess(static_cast<std::byte*>(data_) + bytes, capacity_ - bytes);
    return data_;
  }

 private:
  void grow(size_t bytes) {
    std::free(data_);
    data_ = nullptr;
    capacity_ = 0;
    size_t unit = bytes < kHugePage ? 4096 : kHugePage;
    size_t rounded = (bytes + unit - 1) / unit * unit;
    if (rounded < bytes || posix_memalign(&data_, unit, rounded) != 0) throw std::bad_alloc();
    if (unit == kHugePage) madvise(data_, rounded, MADV_HUGEPAGE);
    capacity_ = rounded;
  }

  void* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace

void* workspace(Purpose purpose, size_t bytes) {
  thread_local std::array<Buffer, size_t(Purpose::Count)> buffers;
  return buffers[size_t(purpose)].atLeast(bytes ? bytes : 1);
}

}  // namespace anneal::cpu
