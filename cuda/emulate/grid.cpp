#include <atomic>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "launch.h"
#include "runner.h"
#include "tensorcore.h"

namespace anneal::emulate {
namespace {

thread_local Runner* runner = nullptr;

}  // namespace

void runGrid(dim3 grid, dim3 block, size_t shared, const std::function<void()>& thread, bool translated) {
  const int64_t blocks = int64_t(grid.x) * grid.y * grid.z;
  static std::atomic<uint64_t> launches = 0;
  const Grid whole{grid, block, shared, thread, launches++, translated};
  Order order;
  order.begin(whole.launch, uint64_t(blocks));
  const std::vector<int64_t> numbers = order.blocks(blocks);
  std::string fault;
#pragma omp parallel if (!kWatched && blocks > 1 && blocks * int64_t(block.x) > 4096)
  {
    thread_local Runner own;
    runner = &own;
    blockDim = block;
    gridDim = grid;
    own.beginGrid();
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < blocks; ++i) own.run(whole, numbers[size_t(i)]);
    if (const std::string mine = own.takeFault(); !mine.empty()) {
#pragma omp critical
      fault = mine;
    }
  }
  if (!fault.empty()) throw std::runtime_error("kernel: " + fault);
}

void syncBlock() { runner->syncBlock(); }
int countBlock(bool vote) { return runner->countBlock(vote); }
void syncWarp(uint32_t mask) { runner->syncWarp(mask); }
uint64_t exchange(uint32_t mask, uint64_t value, int from) { return runner->exchange(mask, value, from); }
uint32_t ballot(uint32_t mask, bool vote) { return runner->find(mask, vote, 1); }
uint32_t match(uint32_t mask, uint64_t value) { return runner->find(mask, value, value); }
int lane() { return runner->lane(); }
const uint64_t* bring(uint64_t value) { return runner->bring(value); }

Pending& pending() { return runner->pending(); }
unsigned threadOfBlock() { return runner->thread(); }
std::span<std::byte> sharedMemory() { return runner->shared(); }
uint64_t sharedAddress() { return runner->sharedAddress(); }
bool unfenced() { return runner->unfenced(); }

void touch(const void* at, size_t bytes, Access access, const void* code) {
  if (runner) runner->touch(at, bytes, access, code);
}

void* dynamicShared() { return runner->shared().data(); }
void misuse(const char* what) { runner->note(what); }

}  // namespace anneal::emulate
