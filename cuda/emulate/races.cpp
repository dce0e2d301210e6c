#include "races.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "cuda_runtime.h"
#include "launch.h"

namespace anneal::emulate {
namespace {

struct Range {
  uintptr_t begin = 0, end = 0;
  bool has(uintptr_t at) const { return at >= begin && at < end; }
};

template <class T>
Range rangeOf(const T& object) {
  const auto begin = reinterpret_cast<uintptr_t>(&object);
  return {begin, begin + sizeof object};
}

/// The calling thread's variables of this library, among which the static shared arrays of kernels lie.
Range ownThreadLocals() {
  Range found;
  const auto visit = [](dl_phdr_info* info, size_t, void* to) {
    const auto inside = rangeOf(threadIdx);
    const auto begin = reinterpret_cast<uintptr_t>(info->dlpi_tls_data);
    for (int i = 0; i < info->dlpi_phnum && begin != 0; ++i) {
      if (info->dlpi_phdr[i].p_type != PT_TLS) continue;
      const Range range{begin, begin + info->dlpi_phdr[i].p_memsz};
      if (range.has(inside.begin)) *static_cast<Range*>(to) = range;
    }
    return 0;
  };
  dl_iterate_phdr(visit, &found);
  return found;
}

bool isVariable(uintptr_t at) {
  return rangeOf(threadIdx).has(at) || rangeOf(blockIdx).has(at) || rangeOf(blockDim).has(at) ||
         rangeOf(gridDim).has(at);
}

const char* nameOf(Access access) {
  switch (access) {
    case Access::Read: return "reads";
    case Access::Write: return "writes";
    default: return "changes atomically";
  }
}

/// As `addr2line -Cfie LIBRARY` takes it.
uintptr_t placeOf(const void* code) {
  Dl_info info;
  return dladdr(code, &info) ? reinterpret_cast<uintptr_t>(code) - reinterpret_cast<uintptr_t>(info.dli_fbase) - 1 : 0;
}

}  // namespace

void Races::beginGrid() {
  ++grid_;
  last_ = 0;
  if (pages_.size() > 10000) pages_.clear();
}

void Races::beginBlock(int64_t block, unsigned threads, const void* dynamic, size_t bytes) {
  block_ = uint32_t(block) + 1;
  interval_ = 0;
  dynamic_ = reinterpret_cast<uintptr_t>(dynamic);
  dynamicBytes_ = bytes;
  clocks_.assign(threads, {});
  for (unsigned t = 0; t < threads; ++t) clocks_[t][t % kLanes] = 1;
}

void Races::syncWarp(unsigned warp, uint32_t lanes) {
  std::array<uint32_t, kLanes> known{};
  const auto each = [&](auto&& run) {
    for (unsigned i = 0; i < kLanes && warp * kLanes + i < clocks_.size(); ++i)
      if (lanes >> i & 1) run(clocks_[warp * kLanes + i], i);
  };
  each([&](const auto& clock, unsigned) {
    for (size_t k = 0; k < kLanes; ++k) known[k] = std::max(known[k], clock[k]);
  });
  each([&](auto& clock, unsigned lane) {
    clock = known;
    ++clock[lane];
  });
}

Races::Page& Races::pageOf(uintptr_t at) {
  const uintptr_t number = at / kPage;
  if (number != last_) {
    auto& page = pages_[number];
    if (!page) page = std::make_unique<Page>();
    last_ = number;
    lastPage_ = page.get();
  }
  if (lastPage_->grid != grid_) {
    lastPage_->bytes.fill({});
    lastPage_->grid = grid_;
    lastPage_->watched = memoryOf(reinterpret_cast<const void*>(number * kPage), 1) == Memory::Device;
  }
  return *lastPage_;
}

bool Races::isShared(uintptr_t at) const {
  thread_local const Range own = ownThreadLocals();
  return at - dynamic_ < dynamicBytes_ || (own.has(at) && !isVariable(at));
}

bool Races::ordered(const Mark& before, const Mark& now) const {
  if (before.block == 0) return true;
  if (before.block != now.block) return false;
  if (before.thread == now.thread || before.interval != now.interval) return true;
  return before.thread / kLanes == now.thread / kLanes && clocks_[now.thread][before.thread % kLanes] >= before.epoch;
}

std::string Races::touchByte(Byte& byte, const Mark& now, bool shared) const {
  if (shared && byte.write.block != block_) byte = {};  // another block's memory
  const Mark* other = nullptr;
  const bool both = now.access == Access::Atomic && byte.write.access == Access::Atomic;
  if (!both && !ordered(byte.write, now)) other = &byte.write;
  if (now.access != Access::Read)
    for (const Mark& read : byte.reads)
      if (!ordered(read, now)) other = &read;
  std::ostringstream problem;
  if (other)
    problem << "race: thread " << now.thread << " of block " << now.block - 1 << ' ' << nameOf(now.access) << " at 0x"
            << std::hex << placeOf(now.code) << std::dec << " what thread " << other->thread << " of block "
            << other->block - 1 << ' ' << nameOf(other->access) << " at 0x" << std::hex << placeOf(other->code);
  else if (shared && now.access != Access::Write && byte.write.block == 0)
    problem << "thread " << now.thread << " reads at 0x" << std::hex << placeOf(now.code)
            << " shared memory that its block has not written";
  if (now.access != Access::Read) byte.write = now;
  else if (byte.reads[0].thread == now.thread || ordered(byte.reads[0], now)) byte.reads[0] = now;
  else byte.reads[1] = now;
  return problem.str();
}

std::string Races::touch(unsigned thread, const void* at, size_t bytes, Access access, const void* code) {
  const auto begin = reinterpret_cast<uintptr_t>(at);
  const Mark now{code, block_, interval_, clocks_[thread][thread % kLanes], static_cast<uint16_t>(thread), access};
  std::string problem;
  const bool shared = isShared(begin);
  for (uintptr_t i = begin; i < begin + bytes && problem.empty(); ++i) {
    Page& page = pageOf(i);
    if (!shared && !page.watched) return {};
    problem = touchByte(page.bytes[i % kPage], now, shared);
  }
  return problem;
}

}  // namespace anneal::emulate
