#pragma once
// Running totals along the lines of a tensor, in an order that depends on shapes alone. What is added up is given by
//   State, whole 4-byte words; State none() const; State item(line, k) const, of the k-th element of a line, counted
//   the way that totals run; State merge(State before, State after) const; void store(line, k, State) const
// Where there are few lines, each is cut into strips: their totals come first, then what comes before each strip, then
// the results.
#include <algorithm>

#include "cpu/scan.h"
#include "device.h"
#include "index.h"
#include "warp.h"

namespace anneal::cuda {

constexpr int kScanThreads = 256;
constexpr int kScanItems = 4;  // of a thread, side by side

struct Strip {
  int64_t line, begin, end, number;
};
/// Lines of n elements in strips of `length`; a strip's number is line * strips + its place in the line.
struct ScanPlan {
  int64_t lines, n, length;
  int strips;
  __device__ Strip strip(int64_t line, int64_t place) const {
    const int64_t begin = place * length;
    return {line, begin, std::min(n, begin + length), line * strips + place};
  }
};

template <class Op>
struct Merging {
  Op op;
  __device__ typename Op::State operator()(typename Op::State a, typename Op::State b) const { return op.merge(a, b); }
};

/// Lines without gaps: a group of threads, a warp or a block, for each strip. With `Store` it writes results, starting
/// from what came before (totals, where there are several strips); else the strip's total.
template <class Op, int Group, bool Store>
__global__ void __launch_bounds__(kScanThreads, Group == kWarp ? 0 : 2)
    scanRows(const __grid_constant__ Op op, ScanPlan plan, typename Op::State* totals) {
  using State = typename Op::State;
  __shared__ State shared[kWarp];
  const int64_t group = threadNumber() / Group;
  if (group >= plan.lines * plan.strips) return;
  const Strip s = plan.strip(group / plan.strips, group % plan.strips);
  const int me = int(threadIdx.x) % Group;
  State carry = Store && plan.strips > 1 ? totals[s.number] : op.none();
  for (int64_t tile = s.begin; tile < s.end; tile += Group * kScanItems) {
    const int64_t first = tile + me * kScanItems;
    State own[kScanItems], sum = op.none();
#pragma unroll
    for (int i = 0; i < kScanItems; ++i) {
      own[i] = first + i < s.end ? op.item(s.line, first + i) : op.none();
      sum = op.merge(sum, own[i]);
    }
    Prefix<State> prefix;
    if constexpr (Group == kWarp) prefix = scanWarp(sum, op.none(), Merging<Op>{op});
    else prefix = scanBlock(sum, op.none(), shared, Merging<Op>{op});
    if constexpr (Store) {
      State run = op.merge(carry, prefix.before);
#pragma unroll
      for (int i = 0; i < kScanItems; ++i) {
        run = op.merge(run, own[i]);
        if (first + i < s.end) op.store(s.line, first + i, run);
      }
    }
    carry = op.merge(carry, prefix.all);
  }
  if (!Store && me == 0) totals[s.number] = carry;
}

/// Lines whose elements lie apart, with the next line beside them: a thread for each strip.
template <class Op, bool Store>
__global__ void __launch_bounds__(kScanThreads)
    scanColumns(const __grid_constant__ Op op, ScanPlan plan, typename Op::State* totals) {
  const int64_t line = threadNumber();
  if (line >= plan.lines) return;
  const Strip s = plan.strip(line, blockIdx.y);
  auto run = Store && plan.strips > 1 ? totals[s.number] : op.none();
#pragma unroll 4
  for (int64_t k = s.begin; k < s.end; ++k) {
    run = op.merge(run, op.item(line, k));
    if constexpr (Store) op.store(line, k, run);
  }
  if (!Store) totals[s.number] = run;
}

/// The totals of a line's strips become what comes before each: a warp for a line.
template <class Op>
__global__ void __launch_bounds__(kScanThreads) scanTotals(Op op, ScanPlan plan, typename Op::State* totals) {
  const int64_t line = threadNumber() / kWarp;
  if (line >= plan.lines) return;
  auto before = op.none();
  for (int first = 0; first < plan.strips; first += kWarp) {
    const int at = first + int(threadIdx.x) % kWarp;
    auto& mine = totals[line * plan.strips + std::min(at, plan.strips - 1)];
    const auto prefix = scanWarp(at < plan.strips ? mine : op.none(), op.none(), Merging<Op>{op});
    if (at < plan.strips) mine = op.merge(before, prefix.before);
    before = op.merge(before, prefix.all);
  }
}

inline ScanPlan planScan(const cpu::Lines& lines) {
  constexpr int64_t kBlocksPerProcessor = 4, kThreadsPerProcessor = 512;
  const bool rows = lines.step == 1;
  const int64_t wanted = current().multiprocessors() * (rows ? kBlocksPerProcessor : kThreadsPerProcessor);
  const int64_t least = rows ? 4 * kScanThreads * kScanItems : 64;  // elements of a strip
  const int64_t most = std::clamp<int64_t>(lines.n / least, 1, 65535);
  const int64_t strips = std::min((wanted + lines.count - 1) / lines.count, most),
                length = (lines.n + strips - 1) / strips;
  return {lines.count, lines.n, length, int((lines.n + length - 1) / length)};
}

template <class Op>
void scan(const Op& op, const cpu::Lines& lines) {
  if (lines.count == 0 || lines.n == 0) return;
  const ScanPlan plan = planScan(lines);
  const Scratch memory(plan.strips > 1 ? size_t(plan.lines * plan.strips) * sizeof(typename Op::State) : 1);
  auto* totals = memory.as<typename Op::State>();
  const auto run = [&](auto kernel, dim3 grid) { launch(kernel, grid, kScanThreads, 0, stream(), op, plan, totals); };
  const int64_t groups = plan.lines * plan.strips;
  const auto perLine = dim3(blocksFor(plan.lines, kScanThreads), unsigned(plan.strips));
  if (plan.strips > 1) {
    if (lines.step > 1) run(scanColumns<Op, false>, perLine);
    else run(scanRows<Op, kScanThreads, false>, unsigned(groups));
    run(scanTotals<Op>, blocksFor(plan.lines * kWarp, kScanThreads));
  }
  if (lines.step > 1) return run(scanColumns<Op, true>, perLine);
  if (plan.n <= kScanThreads * kScanItems / 2)
    return run(scanRows<Op, kWarp, true>, blocksFor(groups * kWarp, kScanThreads));
  run(scanRows<Op, kScanThreads, true>, unsigned(groups));
}

}  // namespace anneal::cuda
