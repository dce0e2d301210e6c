#include "runtime/context.h"

#include <random>

namespace anneal {
namespace {
thread_local Context* active = nullptr;
}

Context& Context::current() {
  if (active) return *active;
  thread_local Context own{.generator = {.seed = int64_t(std::random_device{}())}};
  return own;
}

ContextScope::ContextScope(Context& context) : before_(active) { active = &context; }
ContextScope::~ContextScope() { active = before_; }

}  // namespace anneal
