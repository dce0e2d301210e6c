// Sums over several GPUs by NCCL, which is opened when the first is asked for.
#include "nccl.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <string_view>

#include "core/error.h"
#include "launch.h"
#include "library.h"

namespace anneal::cuda {
namespace {

// NCCL's interface, the same in all versions that serve: declared here, since its header need not be there.
using Communicator = struct CommunicatorOfNccl*;
using Status = int;
constexpr Status kSuccess = 0, kInProgress = 7;
constexpr int kSum = 0, kMean = 4;

constexpr int kLeastVersion = 21900;
constexpr const char* kRemedy = "pip install nvidia-nccl-cu13, or apt install libnccl2";
#if defined(ANNEAL_CUDA_EMULATE)
constexpr int kOnlyVersion = 29999;  // emulate/nccl/nccl.cpp: NVIDIA's cannot work on the emulator's memory
#else
constexpr int kOnlyVersion = 0;
#endif

int typeOf(DType dtype) {
  switch (dtype) {
    case DType::Int8: return 0;
    case DType::UInt8: return 1;
    case DType::Int32: return 2;
    case DType::Int64: return 4;
    case DType::Float16: return 6;
    case DType::Float32: return 7;
    case DType::Float64: return 8;
    case DType::BFloat16: return 9;
    default: fail(Code::DType, "NCCL: ", dtype, " cannot be added up");
  }
}

bool forbidden() {
  const char* chosen = std::getenv("ANNEAL_CUDA_NCCL");
  return chosen && std::string_view(chosen) == "0";
}

/// A GPU among those that are connected. Collectives have a stream of their own, which is given nothing else: on it
/// they come in one order, which is the same on all GPUs.
struct Member {
  Communicator communicator = nullptr;
  cudaStream_t stream = nullptr;
  cudaEvent_t ready = nullptr, done = nullptr;
};
using Clique = std::vector<Member>;

/// Makes the device with that ordinal the calling thread's again when this goes.
struct Return {
  int ordinal;
  ~Return() { (void)cudaSetDevice(ordinal); }
};

/// The functions that are used, from whichever version is there, and the GPUs that were connected.
class Nccl {
 public:
  Nccl();
  /// What is missing and what to do; empty: nothing.
  const std::string& problem() const { return problem_; }
  std::string describe() const { return text(versionText(size_t(version_)), " (", library_.path(), ")"); }
  bool serves() const { return problem_.empty() && (kOnlyVersion == 0 || version_ == kOnlyVersion); }
  void allReduce(std::vector<Part> parts, DType dtype, size_t count, bool mean, cudaStream_t stream);
  void throwErrors(int ordinal);

 private:
  Clique& connected(const std::vector<int>& ordinals);
  Clique connect(const std::vector<int>& ordinals) const;
  void start(const Clique& clique, const std::vector<Part>& parts, int type, size_t count, bool mean) const;
  void expect(Status status, const char* what) const;

  Library library_{"NCCL", {"libnccl.so.2"}, kRemedy};
  Status (*getVersion_)(int*) = library_.find<decltype(getVersion_)>("ncclGetVersion");
  const char* (*describe_)(Status) = library_.find<decltype(describe_)>("ncclGetErrorString");
  const char* (*lastError_)(Communicator) = library_.find<decltype(lastError_)>("ncclGetLastError");
  Status (*connect_)(Communicator*, int, const int*) = library_.find<decltype(connect_)>("ncclCommInitAll");
  Status (*state_)(Communicator, Status*) = library_.find<decltype(state_)>("ncclCommGetAsyncError");
  Status (*begin_)() = library_.find<decltype(begin_)>("ncclGroupStart");
  Status (*end_)() = library_.find<decltype(end_)>("ncclGroupEnd");
  Status (*reduce_)(const void*, void*, size_t, int type, int operation, Communicator,
                    cudaStream_t) = library_.find<decltype(reduce_)>("ncclAllReduce");
  std::string problem_;
  int version_ = 0;
  std::mutex mutex_;
  std::map<std::vector<int>, Clique> cliques_;  // by ordinals, ascending
};

std::atomic<bool> used{false};

Nccl::Nccl() : problem_(library_.problem()) {
  if (!problem_.empty()) return;
  if (getVersion_(&version_) != kSuccess || version_ < kLeastVersion)
    problem_ = text("NCCL is too old: ", describe(), "; version ", versionText(kLeastVersion),
                    " or later is needed: ", kRemedy);
}

void Nccl::expect(Status status, const char* what) const {
  if (status == kSuccess) [[likely]]
    return;
  const char* more = lastError_(nullptr);
  fail(Code::Device, "allReduce: NCCL ", versionText(size_t(version_)), ": ", what, " failed: ", describe_(status),
       more && *more ? text(" (", more, ")") : "",
       ". NCCL_DEBUG=WARN has it say more; ANNEAL_CUDA_NCCL=0 does without it, by copies");
}

Clique Nccl::connect(const std::vector<int>& ordinals) const {
  std::vector<Communicator> communicators(ordinals.size());
  expect(connect_(communicators.data(), int(ordinals.size()), ordinals.data()), "connecting the GPUs");
  Clique clique;
  for (size_t i = 0; i < ordinals.size(); ++i) {
    Member m{.communicator = communicators[i]};
    check(cudaSetDevice(ordinals[i]), "choosing the device");
    check(cudaStreamCreateWithFlags(&m.stream, cudaStreamNonBlocking), "creating a stream");
    for (cudaEvent_t* event : {&m.ready, &m.done})
      check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "creating an event");
    clique.push_back(m);
  }
  return clique;
}

/// Made once, and never taken apart: while the process ends, kernels may be running.
Clique& Nccl::connected(const std::vector<int>& ordinals) {
  std::lock_guard lock(mutex_);
  auto found = cliques_.find(ordinals);
  if (found == cliques_.end()) {
    found = cliques_.emplace(ordinals, connect(ordinals)).first;
    used.store(true);
  }
  return found->second;
}

/// A group that has begun is ended in any case.
void Nccl::start(const Clique& clique, const std::vector<Part>& parts, int type, size_t count, bool mean) const {
  expect(begin_(), "beginning a sum");
  Status status = kSuccess;
  for (size_t i = 0; i < parts.size() && status == kSuccess; ++i)
    status =
        reduce_(parts[i].from, parts[i].to, count, type, mean ? kMean : kSum, clique[i].communicator, clique[i].stream);
  const Status ended = end_();
  expect(status == kSuccess ? ended : status, "starting a sum");
}

void Nccl::allReduce(std::vector<Part> parts, DType dtype, size_t count, bool mean, cudaStream_t stream) {
  const Return back{parts[0].ordinal};
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.ordinal < b.ordinal; });
  std::vector<int> ordinals;
  for (const Part& p : parts) ordinals.push_back(p.ordinal);
  Clique& clique = connected(ordinals);
  throwErrors(back.ordinal);
  const Member& own = clique[size_t(std::find(ordinals.begin(), ordinals.end(), back.ordinal) - ordinals.begin())];
  std::lock_guard lock(startingTogether());
  check(cudaEventRecord(own.ready, stream), "recording an event");
  for (const Member& m : clique) check(cudaStreamWaitEvent(m.stream, own.ready, 0), "waiting for a sum's parts");
  start(clique, parts, typeOf(dtype), count, mean);
  for (const Member& m : clique) {
    check(cudaEventRecord(m.done, m.stream), "recording an event");
    check(cudaStreamWaitEvent(stream, m.done, 0), "waiting for a sum");
  }
}

void Nccl::throwErrors(int ordinal) {
  std::lock_guard lock(mutex_);
  for (const auto& [ordinals, clique] : cliques_) {
    if (!std::binary_search(ordinals.begin(), ordinals.end(), ordinal)) continue;
    for (const Member& m : clique) {
      Status state = kSuccess;
      expect(state_(m.communicator, &state), "looking for errors");
      if (state != kInProgress) expect(state, "a sum");
    }
  }
}

Nccl& nccl() {
  static auto* opened = new Nccl;  // never destroyed: devices' threads run until the process is gone
  return *opened;
}

}  // namespace

bool ncclServes() { return !forbidden() && nccl().serves(); }

std::string describeNccl() {
  const std::string& problem = nccl().problem();
  if (!problem.empty())
    return problem + "; only sums over several GPUs need it, which are made by slower copies until then";
  return nccl().describe() + (forbidden() ? ", not used: ANNEAL_CUDA_NCCL=0" : "");
}

void allReduceByNccl(std::vector<Part> parts, DType dtype, size_t count, bool mean, cudaStream_t stream) {
  nccl().allReduce(std::move(parts), dtype, count, mean, stream);
}

void throwNcclErrors(int ordinal) {
  if (used.load()) nccl().throwErrors(ordinal);
}

std::mutex& startingTogether() {
  static auto* mutex = new std::mutex;  // never destroyed, as above
  return *mutex;
}

}  // namespace anneal::cuda
