// Whether the emulator finds what is wrong with kernels, and nothing in right ones. Compiled with ANNEAL_EMULATE_RACES.
// With the word "order" it prints the order in which threads of two blocks come to a line, before and after a barrier;
// with "layouts" and a file it checks what tensor cores' instructions do, with "instructions" those of PTX.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "instructions.h"
#include "launch.h"
#include "layouts.h"

namespace {

constexpr int kThreads = 64, kBlocks = 3;

/// The sum of the neighbours' values, which go through shared memory: with or without a barrier.
template <bool Barrier>
void neighbours(const int* from, int* to) {
  __shared__ int values[kThreads];
  const int t = int(threadIdx.x), at = int(blockIdx.x) * kThreads + t;
  values[t] = from[at];
  if (Barrier) __syncthreads();
  to[at] = values[(t + 1) % kThreads];
}

enum class Order { Syncwarp, Shuffle, HalfWarps };

/// Within a warp: a shuffle orders no memory, and __syncwarp only what its mask names.
template <Order By>
void lanes(const int* from, int* to) {
  __shared__ int values[kThreads];
  const int t = int(threadIdx.x), at = int(blockIdx.x) * kThreads + t;
  values[t] = from[at];
  if (By == Order::Syncwarp) __syncwarp();
  else if (By == Order::Shuffle) __shfl_sync(0xffffffffu, t, 0);
  else __syncwarp(t % 32 < 16 ? 0x0000ffffu : 0xffff0000u);
  to[at] = values[t ^ 31];
}

/// A second use of shared memory while others may still read the first.
void secondUse(const int* from, int* to) {
  __shared__ int value;
  for (int i = 0; i < 2; ++i) {
    if (threadIdx.x == unsigned(i)) value = from[i];
    __syncthreads();
    to[int(blockIdx.x) * kThreads + int(threadIdx.x)] = value;
  }
}

void unwritten(const int*, int* to) {
  __shared__ int values[2 * kThreads];
  values[threadIdx.x] = 1;
  __syncthreads();
  to[int(blockIdx.x) * kThreads + int(threadIdx.x)] = values[int(threadIdx.x) + kThreads];
}

/// All blocks write one element, or add to it.
template <bool Atomic>
void together(const int*, int* to) {
  if (threadIdx.x != 0) return;
  if (Atomic) atomicAdd(to, 1);
  else to[0] = int(blockIdx.x);
}

/// Neighbours' elements are read while they are written.
void overItself(const int*, int* to) {
  const int n = kBlocks * kThreads, at = int(blockIdx.x) * kThreads + int(threadIdx.x);
  to[at] = to[(at + 1) % n] + 1;
}

int failures = 0;

/// Runs the kernel; `wrong` is what the emulator is to say of it, or empty.
void expect(const char* name, void (*kernel)(const int*, int*), const std::string& wrong) {
  const size_t bytes = size_t(kBlocks) * kThreads * sizeof(int);
  void *from = nullptr, *to = nullptr;
  cudaMalloc(&from, bytes);
  cudaMalloc(&to, bytes);
  std::memset(from, 0, bytes);
  std::memset(to, 0, bytes);
  std::string said;
  try {
    anneal::emulate::runGrid(dim3(kBlocks), dim3(kThreads), 0,
                             [&] { kernel(static_cast<const int*>(from), static_cast<int*>(to)); });
  } catch (const std::exception& e) {
    said = e.what();
  }
  const bool right = wrong.empty() ? said.empty() : said.find(wrong) != std::string::npos;
  if (!right) std::printf("%s: expected '%s', got '%s'\n", name, wrong.c_str(), said.c_str());
  failures += !right;
  cudaFree(from);
  cudaFree(to);
}

int checkOrder() {
  const auto say = [] { std::printf("%u.%u ", blockIdx.x, threadIdx.x); };
  anneal::emulate::runGrid(dim3(2), dim3(kThreads), 0, [&] {
    say();
    __syncthreads();
    say();
  });
  return EXIT_SUCCESS;
}

}  // namespace

int main(int count, char** words) {
  if (count > 1 && std::string(words[1]) == "order") return checkOrder();
  if (count > 1 && std::string(words[1]) == "instructions") return checkInstructions();
  if (count > 2 && std::string(words[1]) == "layouts") return checkLayouts(words[2]);
  expect("a barrier", neighbours<true>, "");
  expect("no barrier", neighbours<false>, "thread");  // a race, or what is not there yet
  expect("__syncwarp", lanes<Order::Syncwarp>, "");
  expect("a shuffle", lanes<Order::Shuffle>, "race");
  expect("halves of a warp", lanes<Order::HalfWarps>, "thread");
  expect("a second use", secondUse, "race");
  expect("unwritten shared memory", unwritten, "has not written");
  expect("atomics of blocks", together<true>, "");
  expect("writes of blocks", together<false>, "race");
  expect("over itself", overItself, "race");
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
