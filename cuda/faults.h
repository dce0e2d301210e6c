#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "core/error.h"
#include "launch.h"

namespace anneal::cuda {

class CudaDevice;

/// What a kernel that finds a mistake in its data leaves behind, in pinned memory: the first of them wins.
struct FaultRecord {
  int set;   // 1 + the number of the site
  int next;  // how many records further on it is left: see SharedRecord
  int64_t a, b, c, d;
};

/// A place in the host's code whose kernels may find mistakes in their data: `describe` makes the error from what the
/// kernel left. In kernels: report(record, site, a, b, c, d).
class FaultSite {
 public:
  explicit FaultSite(std::function<Error(const FaultRecord&)> describe);
  int number() const { return number_; }

 private:
  int number_;
};

#if defined(__CUDACC__) || defined(ANNEAL_CUDA_EMULATE)
/// Leaves a mistake that a kernel has found: what depends on its results is rejected with it.
__device__ inline void report(FaultRecord* record, int site, int64_t a, int64_t b = 0, int64_t c = 0, int64_t d = 0) {
  FaultRecord* own = record + record->next;
  if (atomicCAS(&own->set, 0, site + 1) != 0) return;
  own->a = a;
  own->b = b;
  own->c = c;
  own->d = d;
}
#endif

/// The records of a graph, whose kernels know but the first: it leads to that of the run in hand.
struct SharedRecord {
  static constexpr int kRuns = 63;  // under way at a time
  FaultRecord* records = nullptr;   // 1 + kRuns
  int64_t runs = 0;                 // started
  int64_t pending = 0;              // of them, whose records are not free
  std::array<bool, 1 + kRuns> taken{};
};

/// From mistakes in the data to the results that depend on them, as on the CPU, though kernels find them long after
/// their tasks were started. While a kernel that may find one is under way, what each job of the stream reads and
/// writes is noted; when jobs are known to have ended, faults are passed on along these notes. Nothing waits, but where
/// thousands of checks or dozens of a graph's runs are under way.
class Faults {
 public:
  using Fault = std::shared_ptr<const Error>;
  /// A piece of memory; a job that it depends on in another device's notes is a piece of none.
  struct Extent {
    const std::byte* begin;
    size_t bytes;
  };
  /// What is written only if no mistake is found; else the old value, which lies at `from`.
  struct Kept {
    Extent at;
    const std::byte* from;
  };
  explicit Faults(CudaDevice& device);

  /// On the executor's thread: where kernels of the job in hand leave mistakes.
  FaultRecord* record();
  /// Records for all runs of a graph.
  std::shared_ptr<SharedRecord> share();
  /// The job in hand runs that graph.
  void willRun(const std::shared_ptr<SharedRecord>& shared);
  /// Said before the job in hand starts kernels that keep old values. Gives the fault that one of the pieces which it
  /// reads is known to carry; null: of none it is known. Kernels under way that may still find one are heeded by
  /// failed().
  Fault heed(const std::vector<Extent>& reads);
  /// What kernels of the job in hand, whose number this is, read and write that were started since this was last said.
  void note(uint64_t job, std::vector<Extent> reads, std::vector<Extent> writes, std::vector<Kept> kept = {});
  /// On the executor's thread: where kernels read whether one of the job in hand before them has found a mistake, or
  /// one that it heeds (not 0). Null: none has looked for any.
  const int* failed();
  /// The same for kernels of a graph that is being recorded, those before them having `records`, or null.
  const int* failed(const FaultRecord* records) { return failedIn(records, nullptr); }
  /// From here on kernels may find mistakes that failed() does not tell of yet.
  void forget() { told_ = false; }

  /// What another device's job depends on: this device's job `job` has been noted to write `tag`.
  struct Origin {
    Faults* from = nullptr;
    uint64_t job = 0;
    Extent tag{};
  };
  Origin observe(uint64_t job, Extent read);
  void noteFrom(uint64_t job, const Origin& origin, Extent write);

  /// The fault of what wrote that memory. It has ended.
  Fault at(const std::byte* memory);

 private:
  /// A record that kernels write to, and maybe others read, until all of these have ended.
  struct Lease {
    FaultRecord* record;
    std::function<void()> giveBack;
    Lease(FaultRecord* taken, std::function<void()> back) : record(taken), giveBack(std::move(back)) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease();
  };
  using Leases = std::vector<std::shared_ptr<Lease>>;
  struct Note {
    uint64_t job;
    std::vector<Extent> reads, writes;
    std::vector<Kept> kept{};
    Leases records{}, heeded{};  // written, read
    Origin origin{};
  };
  /// Where mistakes may come from.
  struct Sources {
    std::set<std::shared_ptr<Lease>> pending;
    Fault known;
  };
  template <class F>
  void await(F&& ready);
  void add(Note&& note);
  void settle(uint64_t finished);
  static Fault collect(const Note& note);
  const int* failedIn(const FaultRecord* a, const FaultRecord* b);
  void trace(std::set<const std::byte*> read, uint64_t upTo, Sources& sources) const;

  CudaDevice& device_;
  // Of the job in hand.
  std::shared_ptr<Lease> record_;
  Leases runs_, heeded_;
  bool heeds_ = false;
  // In the device's memory, in the order of the stream: whether a mistake has been found of those that are heeded, and
  // of all.
  int *before_ = nullptr, *failed_ = nullptr;
  bool told_ = false;       // whether `failed_` is what it is to be
  bool beforeSet_ = false;  // whether `before_` may be other than 0
  // Under the lock of all devices' faults: see faults.cu.
  std::deque<Note> notes_;
  std::vector<FaultRecord*> free_, freeShared_;
};

}  // namespace anneal::cuda
