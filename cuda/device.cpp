#include "device.h"

#include <algorithm>
#include <thread>

#include "core/access.h"
#include "kernels.h"
#include "launch.h"
#include "nccl.h"
#include "op/row.h"
#include "runtime/cpu_device.h"
#include "runtime/float32.h"

namespace anneal::cuda {
namespace {

thread_local CudaDevice* here = nullptr;
constexpr uint64_t kJobsPerMark = 64;
#if defined(ANNEAL_CUDA_EMULATE)
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

Faults::Extent extentOf(const Block& block) { return {block.data, block.bytes}; }
std::vector<Faults::Extent> extentsOf(std::span<Block* const> blocks) {
  std::vector<Faults::Extent> out;
  for (const Block* b : blocks) out.push_back(extentOf(*b));
  return out;
}

struct Properties {
  std::string name;
  size_t memory;
  int multiprocessors, capability;
};

Properties propertiesOf(int index) {
#if defined(ANNEAL_CUDA_EMULATE)
  (void)index;
  return {"emulated", size_t(16) << 30, 4, emulate::capability()};
#else
  cudaDeviceProp p;
  check(cudaGetDeviceProperties(&p, index), "properties");
  return {p.name, p.totalGlobalMem, p.multiProcessorCount, 10 * p.major + p.minor};
#endif
}

}  // namespace

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) [[likely]]
    return;
  (void)cudaGetLastError();  // one that does not stay is forgotten
  if (error == cudaErrorMemoryAllocation) fail(Code::Memory, "cuda: out of memory: ", what);
  fail(Code::Device, "cuda: ", what, " failed: ", cudaGetErrorName(error), " (", cudaGetErrorString(error),
       "). After such an error the GPU often cannot be used by this process any more; start it anew");
}

std::string hardwareOf(int ordinal) { return propertiesOf(ordinal).name; }

CudaDevice& current() {
  require(here != nullptr, Code::Internal, "cuda: kernels are started on a device's own thread only");
  return *here;
}

Scratch::Scratch(size_t bytes) : block_(current().scratch(bytes)) { allowAccess(block_->data, bytes); }

CudaDevice::CudaDevice(int index, int ordinal)
    : index_(index),
      ordinal_(ordinal),
      pool_(Pool::Source{.allocate = [this](size_t bytes) { return allocateMemory(bytes); },
                         .free = [this](std::byte* memory, size_t) { freeMemory(memory); },
                         .submitted = [this] { return executor_.submitted(); },
                         .completed = [this] { return finished(); },
                         .synchronize = [this] { synchronize(); },
                         .released = kEmulated && kTracksAccess
                                         ? std::function<void(std::byte*, size_t)>([this](auto... b) { forbid(b...); })
                                         : nullptr},
            0),
      // Progress need not be asked for, because whoever gives memory back to CUDA waits for the GPU: cudaFree alone may
      // not.
      scratch_(Pool::Source{.allocate = [this](size_t bytes) { return allocateMemory(bytes); },
                            .free =
                                [this](std::byte* memory, size_t) {
                                  (void)cudaSetDevice(ordinal_);
                                  (void)cudaStreamSynchronize(stream_);
                                  freeMemory(memory);
                                },
                            .submitted = [] { return uint64_t(0); },
                            .completed = [] { return uint64_t(0); },
                            .synchronize = [] {},
                            .released = kEmulated && kTracksAccess ? std::function<void(std::byte*, size_t)>(
                                                                         [](auto... b) { forbidAccess(b...); })
                                                                   : nullptr},
               0),
      faults_(*this),
      executor_({.begin =
                     [this, fast = fastFloat32()] {
                       here = this;
                       adoptFastFloat32(fast);
                       activate();
                     },
                 .run = [this](Task& task) { run(task); },
                 .caughtUp = [this] { mark(); }}) {
  activate();
  const Properties properties = propertiesOf(ordinal);
  hardware_ = properties.name;
  multiprocessors_ = properties.multiprocessors;
  capability_ = properties.capability;
  pool_.setLimit(properties.memory);
  for (cudaStream_t* s : {&stream_, &in_, &out_, &recorder_})
    check(cudaStreamCreateWithFlags(s, cudaStreamNonBlocking), "creating a stream");
  now_ = stream_;
  std::thread([this] { waitLoop(); }).detach();  // lives as long as the process
}

/// New memory of the GPU, or null.
std::byte* CudaDevice::allocateMemory(size_t bytes) {
  activate();
  std::lock_guard lock(startingTogether());
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, bytes);
  if (error == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    return nullptr;
  }
  check(error, "allocating memory");
  if (kEmulated) forbidAccess(memory, bytes);
  return static_cast<std::byte*>(memory);
}

/// Where one pool finds no memory, the other gives back what it keeps for reuse. Neither's lock is held meanwhile.
Ref<Block> CudaDevice::allocate(const Spec& spec, bool hostWrites) {
  try {
    return allowed(pool_.allocate(spec, hostWrites));
  } catch (const Error& e) {
    if (e.code() != Code::Memory || scratch_.stats().pooled == 0) throw;
    scratch_.trim();
    return allowed(pool_.allocate(spec, hostWrites));
  }
}

Ref<Block> CudaDevice::scratch(size_t bytes) {
  const Spec spec{{int64_t(bytes)}, DType::UInt8};
  const auto take = [&] {
    Ref<Block> block = scratch_.allocate(spec, false);
    if (graph_) pinFor(*graph_, *block);
    return block;
  };
  try {
    return take();
  } catch (const Error& e) {
    if (e.code() != Code::Memory) throw;
    pool_.trim();
  }
  try {
    return take();
  } catch (const Error& e) {
    if (e.code() != Code::Memory) throw;
    fail(Code::Memory, "out of memory: a kernel needs ", bytes, " bytes of working memory", pool_.largest(),
         ". Dispose of tensors, or use smaller batches");
  }
}

void CudaDevice::freeMemory(std::byte* memory) {
  (void)cudaSetDevice(ordinal_);  // memory goes back where the device is lost, too
  std::lock_guard lock(startingTogether());
  (void)cudaFree(memory);
}

MemoryStats CudaDevice::memory() const {
  MemoryStats out = pool_.stats();
  const MemoryStats working = scratch_.stats();
  out.used += working.used;
  out.pooled += working.pooled;
  out.misses += working.misses;
  return out;
}

void CudaDevice::quiesce() {
  Executor::quiesce();
  quiesceRuntimeKernels();
}

void CudaDevice::activate() const { check(cudaSetDevice(ordinal_), "choosing the device"); }

/// For the emulator under AddressSanitizer: in the order of the stream, no task touches memory between tensors.
void CudaDevice::forbid(std::byte* data, size_t bytes) {
  enqueue([data, bytes] { forbidAccess(data, bytes); });
}
Ref<Block> CudaDevice::allowed(Ref<Block> block) {
  if constexpr (kEmulated && kTracksAccess)
    enqueue([data = block->data, bytes = block->bytes] { allowAccess(data, bytes); });
  return block;
}

void CudaDevice::run(Task& task) {
#if defined(ANNEAL_CUDA_EMULATE)
  emulate::inOrder(stream_, [in = std::vector(task.in().begin(), task.in().end()),
                             out = std::vector(task.out().begin(), task.out().end())] { allowOutputs(in, out); });
#endif
  const auto pieces = [](std::span<const View> views) {
    std::vector<Faults::Extent> out;
    for (const View& v : views)
      if (v.block) out.push_back(extentOf(*v.block));
    return out;
  };
  const std::vector<Faults::Extent> reads = pieces(task.in());
  std::vector<Faults::Kept> kept;
  bool stays = false;
  const auto prepare = [&] {
    stays = faults_.heed(reads) != nullptr;
    for (size_t i = 0; i < task.out().size(); ++i) {
      const View &to = task.out()[i], &old = task.in()[size_t(task.row->donor(i, task.in().size()))];
      keepValue(*this, to, old);  // kernels write over it only where they find no mistake
      kept.push_back({extentOf(*to.block), old.memory ? old.memory : to.memory});
    }
    if (stays) keepDonors(*this, *task.row, task.in(), task.out());
  };
  const auto lost = task.row->keeps ? faultOf(prepare) : nullptr;
  if (lost)
    for (const View& v : task.out()) v.block->fault = lost;
  else if (!stays) runKernel(*this, *task.row, task.attrs.get(), task.in(), task.out());
  faults_.note(job(), reads, pieces(task.out()), std::move(kept));
  if (executor_.completed() % kJobsPerMark == 0) mark();
}

std::shared_ptr<const Error> CudaDevice::heed(std::span<Block* const> reads) {
  std::shared_ptr<const Error> known;
  const auto lost = faultOf([&] { known = faults_.heed(extentsOf(reads)); });
  return lost ? lost : known;
}

void CudaDevice::ran(std::span<Block* const> reads, std::span<Block* const> writes, std::span<const Kept> kept) {
  std::vector<Faults::Kept> pieces;
  for (const Kept& k : kept) pieces.push_back({extentOf(*k.to), k.from});
  faults_.note(job(), extentsOf(reads), extentsOf(writes), std::move(pieces));
}

}  // namespace anneal::cuda
