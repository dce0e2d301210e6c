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

/// The error that a kernel left.
Faults::Fault describe(const FaultRecord& left) {
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

/// Leaves in the device's memory whether a mistake is in one of two records, or has been found before.
__global__ void tell(const FaultRecord* a, const FaultRecord* b, const int* before, int* failed) {
  *failed = (a && a[a->next].set != 0) || (b && b[b->next].set != 0) || (before && *before != 0);
}

constexpr int kTogether = 64;
struct Records {
  const FaultRecord* list[kTogether];
};
/// Whether a mistake is in one of these, or, with `more`, has been found already.
__global__ void tellOfAny(Records records, int count, bool more, int* found) {
  bool any = more && *found != 0;
  for (int i = 0; i < count; ++i) any |= records.list[i]->set != 0;
  *found = any;
}

}  // namespace

FaultSite::FaultSite(std::function<Error(const FaultRecord&)> describe) : number_(int(sites().size())) {
  sites().push_back(std::move(describe));
}

Faults::Lease::~Lease() {
  std::lock_guard lock(mutex);
  __atomic_store_n(&record->set, 0, __ATOMIC_RELEASE);
  giveBack();
}

Faults::Faults(CudaDevice& device) : device_(device) {
  device.activate();
  FaultRecord* records = makeRecords(kRecords);
  for (size_t i = kRecords; i-- > 0;) free_.push_back(records + i);
  void* memory = nullptr;
  check(cudaMalloc(&memory, 2 * sizeof(int)), "memory");
  before_ = static_cast<int*>(memory);
  failed_ = before_ + 1;
  beforeSet_ = true;  // to anything
}

/// Calls `ready` under the lock, when what has ended is settled; if it does not hold, again when all has ended (also
/// what has read the records that are heeded).
template <class F>
void Faults::await(F&& ready) {
  for (bool drained = false;; drained = true) {
    if (drained) device_.drain();
    std::lock_guard lock(mutex);
    if (drained) heeded_.clear();
    settle(device_.finished());
    if (ready()) return;
  }
}

FaultRecord* Faults::record() {
  if (record_) return record_->record;
  await([&] {
    if (free_.empty()) return false;
    FaultRecord* const taken = free_.back();
    free_.pop_back();
    record_ = std::make_shared<Lease>(taken, [this, taken] { free_.push_back(taken); });
    return true;
  });
  return record_->record;
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
    next = 1 + int(shared->runs % SharedRecord::kRuns);
    if (std::exchange(shared->taken[size_t(next)], true)) return false;
    ++shared->runs;
    alone = shared->pending++ == 0;
    return true;
  });
  runs_.push_back(std::make_shared<Lease>(shared->records + next, [shared, next] {
    --shared->pending;
    shared->taken[size_t(next)] = false;
  }));
  forget();
  if (alone) __atomic_store_n(&shared->records->next, next, __ATOMIC_RELEASE);
  else launch(setNext, 1, 1, 0, device_.stream(), shared->records, next);
}

/// Goes back through the notes, from what is read to what wrote it, up to that job.
void Faults::trace(std::set<const std::byte*> read, uint64_t upTo, Sources& sources) const {
  for (auto note = notes_.rbegin(); note != notes_.rend() && !read.empty(); ++note) {
    if (note->job > upTo) continue;
    const auto taken = [&](const Extent& e) {
      const auto first = read.lower_bound(e.begin), last = read.lower_bound(e.begin + std::max<size_t>(e.bytes, 1));
      if (first == last) return false;
      read.erase(first, last);
      return true;
    };
    std::vector<const std::byte*> older;
    for (const Kept& k : note->kept)
      if (taken(k.at)) older.push_back(k.from);
    bool written = false;
    for (const Extent& e : note->writes) written |= taken(e);
    if (written) {
      for (const Extent& e : note->reads) older.push_back(e.begin);
      sources.pending.insert(note->records.begin(), note->records.end());
      if (note->origin.from) note->origin.from->trace({note->origin.tag.begin}, note->origin.job, sources);
    }
    read.insert(older.begin(), older.end());
  }
  for (const std::byte* memory : read)
    if (!sources.known) sources.known = find(memory);
}

Faults::Fault Faults::heed(const std::vector<Extent>& reads) {
  Sources sources;
  {
    const uint64_t finished = device_.finished();
    std::lock_guard lock(mutex);
    settle(finished);
    std::set<const std::byte*> all;
    for (const Extent& e : reads) all.insert(e.begin);
    trace(std::move(all), UINT64_MAX, sources);
    if (sources.known) return sources.known;
    heeded_.assign(sources.pending.begin(), sources.pending.end());
  }
  heeds_ = true;
  forget();
  if (heeded_.empty() && !std::exchange(beforeSet_, false)) return nullptr;
  size_t done = 0;
  do {
    Records records{};
    const size_t count = std::min<size_t>(heeded_.size() - done, kTogether);
    for (size_t i = 0; i < count; ++i) records.list[i] = heeded_[done + i]->record;
    launch(tellOfAny, 1, 1, 0, device_.stream(), records, int(count), done > 0, before_);
    done += count;
  } while (done < heeded_.size());
  beforeSet_ = !heeded_.empty();
  return nullptr;
}

/// In the order of the stream, so that one place serves all jobs.
const int* Faults::failedIn(const FaultRecord* a, const FaultRecord* b) {
  const int* const before = heeds_ ? before_ : nullptr;
  if (!a && !b) return before;
  if (!std::exchange(told_, true)) launch(tell, 1, 1, 0, device_.stream(), a, b, before, failed_);
  return failed_;
}

const int* Faults::failed() {
  return failedIn(record_ ? record_->record : nullptr, runs_.empty() ? nullptr : runs_.back()->record);
}

void Faults::note(uint64_t job, std::vector<Extent> reads, std::vector<Extent> writes, std::vector<Kept> kept) {
  forget();
  heeds_ = false;
  Leases records = std::exchange(runs_, {});
  if (record_) records.push_back(std::exchange(record_, nullptr));
  add({.job = job,
       .reads = std::move(reads),
       .writes = std::move(writes),
       .kept = std::move(kept),
       .records = std::move(records),
       .heeded = std::exchange(heeded_, {})});
}

void Faults::add(Note&& note) {
  std::lock_guard lock(mutex);
  if (!note.records.empty() || !note.heeded.empty() || !notes_.empty() || !poisoned.empty() || note.origin.job > 0)
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
Faults::Fault Faults::collect(const Note& note) {
  for (const auto& lease : note.records)
    if (set(*lease->record)) return describe(*lease->record);
  return nullptr;
}

/// Passes faults on along the notes of jobs that have ended.
void Faults::settle(uint64_t finished) {
  for (; !notes_.empty() && notes_.front().job <= finished; notes_.pop_front()) {
    Note& note = notes_.front();
    if (note.origin.from) note.origin.from->settle(note.origin.job);
    Fault found;
    for (const Extent& e : note.reads)
      if (!found) found = find(e.begin);
    if (!found) found = collect(note);
    std::vector<Fault> before;
    for (const Kept& k : note.kept) before.push_back(found ? find(k.from) : nullptr);
    for (const Extent& e : note.writes) replace(e, found);
    for (size_t i = 0; i < note.kept.size(); ++i) replace(note.kept[i].at, before[i]);
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
