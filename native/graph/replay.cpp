#include "graph/replay.h"

#include "graph/execution.h"
#include "runtime/float32.h"

namespace anneal {

Visit::Visit(const Plan& plan, std::byte* arena) : arena_(arena), slotsAt_(arena + plan.arena), slots_(plan.slots) {}

std::byte* Visit::bring(const Plan::Place& place, const View& from) {
  const bool slot = place.slot >= 0;
  if (!slot && !place.visits) return from.memory;
  std::byte* const to = slot ? slotsAt_ + size_t(place.slot) * sizeof(Recorder::Slot) : arena_ + place.offset;
  if (from.memory) brought_.push_back({to, from.memory, size_t(from.size()) * itemSize(from.dtype)});
  else slots_[size_t(place.slot)] = from.scalar;
  return to;
}

std::byte* Visit::take(const Plan::Place& place, std::byte* to, size_t bytes, const std::byte* kept) {
  std::byte* const from = arena_ + place.offset;
  taken_.push_back({to, from, bytes, kept});
  return from;
}

void Visit::begin(Recorder& recorder) const {
  if (!slots_.empty()) recorder.put(slotsAt_, slots_);
  if (!brought_.empty()) recorder.moveAll(brought_);
}

void Visit::end(Recorder& recorder) const {
  if (!taken_.empty()) recorder.moveAll(taken_);
}

std::unique_ptr<Steady> Steady::of(Device& device) {
  auto* recorder = dynamic_cast<Recorder*>(&device);
  return recorder ? std::make_unique<Steady>(device, *recorder) : nullptr;
}

void Steady::count(uint64_t Replays::*what) {
  std::lock_guard lock(mutex_);
  ++(replays_.*what);
}

void Steady::refuse(std::string problem) {
  std::lock_guard lock(mutex_);
  replays_.problem = std::move(problem);
}

Replays Steady::replays() const {
  std::lock_guard lock(mutex_);
  return replays_;
}

std::optional<Replays> Program::replays() const {
  return compiled_->steady ? std::optional(compiled_->steady->replays()) : std::nullopt;
}

/// Replays the operations if everything lies where it did when they were recorded; or else records them, or runs them.
std::shared_ptr<const Error> Program::Execution::computeSteadily(bool profile) {
  Compiled& c = *compiled;
  Steady& steady = *c.steady;
  for (size_t v = 0; v < bases.size(); ++v)
    if (!c.lasting[v] && c.graph->values[v].kind != Value::Kind::Result) bases[v] = nullptr;  // of the prologue
  // Kernels for another precision have to be chosen, and recorded, anew.
  if (steady.fastFloat32 != fastFloat32Here()) {
    steady.fastFloat32 = fastFloat32Here();
    steady.before.clear();
    steady.recorded.clear();
  }
  const bool again = bases == steady.before;
  steady.before.clear();
  std::shared_ptr<const Error> fault;
  const bool may = !profile && !c.steps.empty() && steady.replays().problem.empty();
  if (may && again && bases != steady.recorded) fault = record();
  if (fault) return fault;
  if (may && steady.recording && bases == steady.recorded) {
    fault = faultOf([&] { steady.recording->replay(); });
    steady.count(&Replays::replayed);
  } else {
    fault = compute(c.steps, profile);
    steady.count(&Replays::separate);
  }
  if (!fault) steady.before = std::move(bases);
  return fault;
}

/// What cannot be recorded is noted, and from then on runs without. Running out of memory is an error of the run.
std::shared_ptr<const Error> Program::Execution::record() {
  Compiled& c = *compiled;
  Steady& steady = *c.steady;
  steady.recording = nullptr;
  steady.recorded.clear();
  std::string failing;  // operation
  const auto fault = faultOf([&] {
    steady.recording = steady.recorder.record([&] {
      const auto fault = compute(c.steps, false);
      if (!fault) return;
      failing = c.last->row->name + ": ";
      throw Error(*fault);
    });
  });
  if (fault) {
    steady.refuse(failing + fault->what());
    return fault->code() == Code::Memory ? fault : nullptr;
  }
  steady.recorded = bases;
  steady.count(&Replays::recorded);
  return nullptr;
}

}  // namespace anneal
