// From one GPU to another.
#include <algorithm>
#include <future>
#include <utility>

#include "core/access.h"
#include "device.h"
#include "launch.h"

namespace anneal::cuda {
namespace {

using Fault = std::shared_ptr<const Error>;

/// How far the other GPU will be when it has computed what is to be copied, or why it never will.
struct Computed {
  cudaEvent_t event = nullptr;
  Fault fault;
  Faults::Origin origin{};
};

/// Runs `f`; gives what it throws.
template <class F>
Fault attempt(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return std::make_shared<const Error>(e);
  }
  return nullptr;
}

}  // namespace

/// Lets the copy go directly. Where two GPUs cannot reach each other, the driver takes it through the host by itself.
void CudaDevice::reach(const CudaDevice& peer) const {
  for (const auto& [own, other] : {std::pair(ordinal_, peer.ordinal_), std::pair(peer.ordinal_, ordinal_)}) {
    int able = 0;
    if (cudaDeviceCanAccessPeer(&able, own, other) != cudaSuccess || !able) continue;
    if (cudaSetDevice(own) == cudaSuccess) (void)cudaDeviceEnablePeerAccess(other, 0);
  }
  (void)cudaGetLastError();  // that access had been enabled before
  activate();
}

void CudaDevice::dependOn(CudaDevice& other) {
  std::vector<CudaDevice*> more{&other};
  {
    std::lock_guard lock(other.sourcesMutex_);
    more.insert(more.end(), other.sources_.begin(), other.sources_.end());
  }
  std::lock_guard lock(sourcesMutex_);
  for (CudaDevice* source : more) {
    if (source == this || std::find(sources_.begin(), sources_.end(), source) != sources_.end()) continue;
    if (source == &other) reach(other);
    sources_.push_back(source);
  }
}

/// The host's threads meet where both have come to the copy; from there the streams follow each other by an event. An
/// event that has been waited for may be recorded anew: the wait is for what it was when it was asked for.
void CudaDevice::pull(CudaDevice& from, const Transfer& what) {
  auto computed = std::make_shared<std::promise<Computed>>();
  from.executor_.enqueue([&from, source = what.source, computed] {
    Computed c{.fault = source->fault};
    if (!c.fault) {
      c.fault = attempt([&] {
        c.event = from.takeEvent();
        check(cudaEventRecord(c.event, from.stream_), "recording an event");
        c.origin = from.faults_.observe(from.job(), {source->data, source->bytes});
      });
    }
    computed->set_value(std::move(c));
  });
  executor_.enqueue([this, &from, what, computed] {
    std::future<Computed> coming = computed->get_future();
    Executor::pause([&] { coming.wait(); });
    Computed c = coming.get();
    if (!c.fault) {
      c.fault = attempt([&] {
        dependOn(from);
        if constexpr (kTracksAccess) allowAccess(what.target->data, what.bytes);
        check(cudaStreamWaitEvent(stream_, c.event, 0), "waiting for another GPU");
        check(cudaMemcpyPeerAsync(what.target->data, ordinal_, what.from, from.ordinal_, what.bytes, stream_),
              "copy from another GPU");
      });
    }
    if (c.event) from.giveEvent(c.event);
    faults_.noteFrom(job(), c.origin, {what.target->data, what.target->bytes});
    what.target->fault = c.fault;
  });
  whenDone([what] {});  // until then the source's memory is not given to others
}

}  // namespace anneal::cuda
