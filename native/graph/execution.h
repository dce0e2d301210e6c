#pragma once
#include <array>
#include <atomic>

#include "graph/program.h"
#include "graph/replay.h"
#include "runtime/follower.h"

namespace anneal {

/// What all runs share. Only one run is under way at a time.
struct Program::Compiled {
  struct Step {
    const Row::Kernel* kernel;
    const Operation* operation;
    std::vector<View> views;
    double nanoseconds = -1;
  };
  std::unique_ptr<Graph> graph;
  Plan plan;
  std::vector<Step> prologue, steps;
  const Operation* last = nullptr;                 // that was started, on the stream's thread
  std::vector<int> outside, owned, inArena, kept;  // values, by where they lie
  /// What a cell holds: 0 if nobody can tell it from something else; where in its memory.
  struct Held {
    uint64_t stamp = 0;
    int64_t offset = 0;
    bool operator==(const Held&) const = default;
  };
  // The prologue's results, by value, and what the cells held that they are of. A prologue that fails makes them stale.
  std::vector<Ref<Block>> keptMemory;
  std::vector<bool> lasting;  // by value: whether it is read after the prologue
  std::vector<size_t> prologueCells;
  std::vector<Held> held;
  std::atomic<bool> stale{true};
  std::unique_ptr<Steady> steady;  // on a device whose stream can be recorded
  bool small = true;
  std::atomic<bool> profile{false};
};

/// One run: where the values lie. Memory may change hands while it is queued, as for any task.
struct Program::Execution {
  /// The old value of a cell that gets new memory: it stays if the run fails.
  struct Kept {
    const std::byte* from;
    Block* of;  // null: not of a pool, so without faults
    Block* to;
    size_t bytes;
  };
  std::shared_ptr<Compiled> compiled;
  std::vector<std::byte*> bases;  // by value
  std::vector<std::array<std::byte, 16>> scalars;
  Visit visit;
  std::vector<Block*> reads, writes;      // from outside; of new memory that outlives the run
  std::vector<Block*> overwritten;        // of cells, in place, whatever kernels find
  std::vector<Follower::Kept> held;       // where cells' old values stay: see Plan::Place::keeps
  std::vector<Block*> weights, prepared;  // what the prologue reads from outside, and what it writes
  std::vector<Kept> kept;
  bool withPrologue = false;

  /// On the stream's thread, or on the caller's while the stream is idle.
  void perform();

 private:
  std::shared_ptr<const Error> prepare(std::shared_ptr<const Error> fault, Follower* follower, bool profile);
  std::shared_ptr<const Error> compute(std::vector<Compiled::Step>& steps, bool profile);
  std::shared_ptr<const Error> computeSteadily(bool profile);
  std::shared_ptr<const Error> record();
};

}  // namespace anneal
