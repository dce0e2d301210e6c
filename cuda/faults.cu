#include "faults.h"

#include <map>
#include <mutex>

#include "device.h"

namespace anneal::cuda {
namespace {

constexpr size_t kRecords = 4096;

// Of all devices: results move between them. Recursive, because the last note of a graph's run may be the last to hold
// the graph's record.
std::recursive_mutex mutex;
struct Poison {
  const std::byte* end;
  Faults::Fault fault;
};
// By the beginning; they do not overlap. Never destroyed: devices' threads run until the process is gone.
auto& poisoned = *new std::map<const std::byte*, Poison>;
uintptr_t tags = 0;

std::vector<std::function<Error(const FaultRecord&)>>& sites() {
  static std::vector<std::function<Error(const FaultRecord&)>> all;
  return all;
}

Faults::Fault find(const std::byte* memory) {
  auto at = poisoned.upper_bound(memory);
  if (at == poisoned.begin() || (--at)->second.end <= memory) return nullptr;
  return at->second.fault;
}

/// What is written is no longer what it was.
void replace(Faults::Extent e, const Faults::Fault& fault) {
  if (poisoned.empty() && !fault) return;
  const std::byte* end = e.begin + std::max<size_t>(e.bytes, 1);
  auto at = poisoned.upper_bound(e.begin);
  if (at != poisoned.begin() && std::prev(at)->second.end > e.begin) --at;
  while (at != poisoned.end() && at->first < end) at = poisoned.erase(at);
  if (fault) poisoned[e.begin] = {end, fault};
}

/// The error that a kernel left, which is taken away.
Faults::Fault describe(FaultRecord& record) {
  const FaultRecord left = record;
  __atomic_store_n(&record.set, 0, __ATOMIC_RELEASE);
  return std::make_shared<const Error>(sites()[size_t(left.set - 1)](left));
}

bool set(const FaultRecord& record) { return __atomic_load_n(&record.set, __ATOMIC_ACQUIRE) != 0; }

/// `count` records that are not set.
FaultRecord* makeRecords(size_t count) {
  void* memory = nullptr;
  check(cudaHostAlloc(&memory, count * sizeof(FaultRecord), cudaHostAllocMapped), "pinned memory");
  return new (memory) FaultRecord[count]{};
}

__global__ void setNext(FaultRecord* record, int next) { record->next = next; }

/// Leaves in the device's memory whether a mistake is in one of two records.
__global__ void tell(const FaultRecord* a, const FaultRecord* b, int* failed) {
  *failed = (a && a[a->next].set != 0) || (b && b[b->next].set != 0);
}

}  // namespace

FaultSite::FaultSite(std::function<Error(const FaultRecord&)> describe) : number_(int(sites().size())) {
  sites().push_back(std::move(describe));
}

Faults::Faults(CudaDevice& device) : device_(device) {
  device.activate();
  FaultRecord* records = makeRecords(kRecords);
  for (size_t i = kRecords; i-- > 0;) free_.push_back(records + i);
  void* memory = nullptr;
  check(cudaMalloc(&memory, sizeof *failed_), "memory");
  failed_ = static_cast<int*>(memory);
}

/// Calls `ready` under the lock, when what has ended is settled; if it does not hold, again when all has ended.
template <class F>
void Faults::await(F&& ready) {
  for (bool drained = false;; drained = true) {
    if (drained) device_.drain();
    std::lock_guard lock(mutex);
    settle(device_.finished());
    if (ready()) return;
  }
}

FaultRecord* Faults::record() {
  if (record_) return record_;
  await([&] {
    if (free_.empty()) return false;
    record_ = free_.back();
    free_.pop_back();
    return true;
  });
  return record_;
}

std::shared_ptr<SharedRecord> Faults::share() {
  std::lock_guard lock(mutex);
  if (freeShared_.empty()) freeShared_.push_back(makeRecords(1 + SharedRecord::kRuns));
  auto* shared = new SharedRecord{.records = freeShared_.back()};
  freeShared_.pop_back();
  return {shared, [this](SharedRecord* gone) {
            std::lock_guard lock(mutex);
            freeShared_.push_back(gone->records);
            delete gone;
          }};
}

/// The host may say where a run leaves its mistakes if no other is under way; else the stream must.
void Faults::willRun(const std::shared_ptr<SharedRecord>& shared) {
  int next = 0;
  bool alone = false;
  await([&] {
    alone = shared->pending == 0;
    if (shared->pending == SharedRecord::kRuns) return false;
    ++shared->pending;
    next = 1 + int(shared->runs++ % SharedRecord::kRuns);
    return true;
  });
  runs_.emplace_back(shared, next);
  forget();
  if (alone) __atomic_store_n(&shared->records->next, next, __ATOMIC_RELEASE);
  else launch(setNext, 1, 1, 0, device_.stream(), shared->records, next);
}

/// In the order of the stream, so that one place serves all jobs.
const int* Faults::failed(FaultRecord* recorded) {
  FaultRecord* own = recorded;
  FaultRecord* graphs = nullptr;
  if (!recorded) {
    own = record_;
    graphs = runs_.empty() ? nullptr : runs_.back().first->records;
  }
  if (!own && !graphs) return nullptr;
  if (!std::exchange(told_, true)) launch(tell, 1, 1, 0, device_.stream(), own, graphs, failed_);
  return failed_;
}

void Faults::note(uint64_t job, std::vector<Extent> reads, std::vector<Extent> writes, std::vector<Extent> kept) {
  forget();
  add({.job = job,
       .reads = std::move(reads),
       .writes = std::move(writes),
       .kept = std::move(kept),
       .record = std::exchange(record_, nullptr),
       .runs = std::exchange(runs_, {})});
}

void Faults::add(Note&& note) {
  std::lock_guard lock(mutex);
  if (note.record || !note.runs.empty() || !notes_.empty() || !poisoned.empty() || note.origin.job > 0)
    notes_.push_back(std::move(note));
}

Faults::Origin Faults::observe(uint64_t job, Extent read) {
  Extent tag{};
  {
    std::lock_guard lock(mutex);
    if (notes_.empty() && poisoned.empty()) return {};
    tag = {reinterpret_cast<const std::byte*>(++tags), 1};
  }
  add({.job = job, .reads = {read}, .writes = {tag}});
  return {this, job, tag};
}

void Faults::noteFrom(uint64_t job, const Origin& origin, Extent write) {
  Note note{.job = job, .writes = {write}, .origin = origin};
  if (origin.from) note.reads = {origin.tag};
  add(std::move(note));
}

/// What the job's kernels have left.
Faults::Fault Faults::collect(Note& note) {
  Fault fault;
  const auto look = [&](FaultRecord& record) {
    if (!set(record)) return;
    const Fault own = describe(record);
    if (!fault) fault = own;
  };
  if (note.record) {
    look(*note.record);
    free_.push_back(note.record);
  }
  for (auto& [shared, next] : note.runs) {
    look(shared->records[next]);
    --shared->pending;
  }
  return fault;
}

/// Passes faults on along the notes of jobs that have ended.
void Faults::settle(uint64_t finished) {
  for (; !notes_.empty() && notes_.front().job <= finished; notes_.pop_front()) {
    Note& note = notes_.front();
    if (note.origin.from) note.origin.from->settle(note.origin.job);
    const Fault own = collect(note);
    Fault before;
    for (const Extent& e : note.reads)
      if (!before) before = find(e.begin);
    for (const Extent& e : note.writes) replace(e, before ? before : own);
    for (const Extent& e : note.kept) replace(e, before);
    if (note.origin.from) replace(note.origin.tag, nullptr);
  }
}

Faults::Fault Faults::at(const std::byte* memory) {
  const uint64_t finished = device_.finished();
  std::lock_guard lock(mutex);
  settle(finished);
  return memory ? find(memory) : nullptr;
}

}  // namespace anneal::cuda
