#include "fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace anneal::emulate {
namespace {

constexpr size_t kStack = size_t(256) << 10, kGuard = 4096;

#if defined(__x86_64__)
// Saves what a call must preserve, and swaps stacks: a system call for signal masks, as swapcontext makes, would take
// most of the time of a kernel with barriers.
extern "C" void anneal_switch(void** from, void* to);
asm(R"(
.text
.globl anneal_switch
.hidden anneal_switch
.type anneal_switch, @function
anneal_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size anneal_switch, .-anneal_switch
)");
#endif

}  // namespace

struct Fiber::State {
  std::function<void()> body;
  char* stack = nullptr;
  bool over = true;
#if defined(__x86_64__)
  void *inside = nullptr, *outside = nullptr;
#else
  ucontext_t inside, outside;
#endif
#if defined(__SANITIZE_ADDRESS__)
  void *ownFake = nullptr, *callerFake = nullptr;
  const void* callerStack = nullptr;
  size_t callerSize = 0;
#endif

  void start();
  [[noreturn]] void loop();
  void switchIn();
  void switchOut();
};

namespace {
thread_local void* starting = nullptr;
}

void Fiber::State::switchIn() {
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, stack + kGuard, kStack);
#endif
#if defined(__x86_64__)
  anneal_switch(&outside, inside);
#else
  swapcontext(&outside, &inside);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Fiber::State::switchOut() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&ownFake, callerStack, callerSize);
#endif
#if defined(__x86_64__)
  anneal_switch(&inside, outside);
#else
  swapcontext(&inside, &outside);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(ownFake, &callerStack, &callerSize);
#endif
}

/// The body again and again: a stack that has been set up serves all blocks of a grid.
void Fiber::State::loop() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &callerStack, &callerSize);
#endif
  for (;;) {
    body();
    over = true;
    switchOut();
  }
}

void Fiber::State::start() {
  void (*const first)() = [] { static_cast<State*>(starting)->loop(); };
#if defined(__x86_64__)
  // As if `first` had been about to be returned to: six registers below its address, the stack aligned as after a call.
  auto top = reinterpret_cast<uintptr_t>(stack + kGuard + kStack) & ~uintptr_t(15);
  auto* words = reinterpret_cast<uintptr_t*>(top);
  words[-1] = 0;
  words[-2] = reinterpret_cast<uintptr_t>(first);
  for (int i = 3; i <= 8; ++i) words[-i] = 0;
  inside = words - 8;
#else
  getcontext(&inside);
  inside.uc_stack = {.ss_sp = stack + kGuard, .ss_flags = 0, .ss_size = kStack};
  inside.uc_link = nullptr;
  makecontext(&inside, first, 0);
#endif
}

Fiber::Fiber(std::function<void()> body) : state_(std::make_unique<State>()) {
  state_->body = std::move(body);
  void* memory =
      mmap(nullptr, kStack + kGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, kGuard, PROT_NONE);  // a stack that overflows faults
  state_->stack = static_cast<char*>(memory);
  state_->start();
}

Fiber::~Fiber() { munmap(state_->stack, kStack + kGuard); }

void Fiber::enter() {
  starting = state_.get();
  state_->switchIn();
}
void Fiber::leave() { state_->switchOut(); }
bool Fiber::ended() const { return state_->over; }
void Fiber::restart() { state_->over = false; }

}  // namespace anneal::emulate
