#include "late.h"

#include <cstdlib>
#include <exception>
#include <mutex>
#include <random>
#include <vector>

#include "core/access.h"

namespace anneal::emulate {
namespace {

// Of all streams: they wait for each other.
std::mutex mutex;
auto& all = *new std::vector<Backlog*>;
auto& firstFault = *new std::string;

uint64_t seed() {
  const char* given = std::getenv("ANNEAL_EMULATE_LATE");
  return given ? std::strtoull(given, nullptr, 10) : 0;
}

uint64_t random(uint64_t below) {
  static std::mt19937_64 generator(seed());
  return generator() % below;
}

}  // namespace

bool late() {
  static const bool chosen = seed() != 0 && !kTracksAccess;  // which bytes may be touched follows the host
  return chosen;
}

Backlog::Backlog() {
  std::lock_guard lock(mutex);
  all.push_back(this);
}

void Backlog::give(Item item) {
  std::lock_guard lock(mutex);
  items_.push_back(std::move(item));
  ++given_;
  if (random(4) == 0) drift();
}

void Backlog::add(std::function<void()> work) { give({.work = std::move(work)}); }
void Backlog::addWait(Backlog& other, uint64_t until) { give({.other = &other, .until = until}); }

uint64_t Backlog::given() const {
  std::lock_guard lock(mutex);
  return given_;
}

bool Backlog::has(uint64_t until) {
  std::lock_guard lock(mutex);
  drift();
  return done_ >= until;
}

void Backlog::run(uint64_t until) {
  std::lock_guard lock(mutex);
  runLocked(until);
}

std::string Backlog::fault() {
  std::lock_guard lock(mutex);
  return firstFault;
}

bool Backlog::blocked() const {
  return items_.empty() || (items_.front().other && items_.front().other->done_ < items_.front().until);
}

void Backlog::runNext() {
  const Item item = std::move(items_.front());
  items_.pop_front();
  try {
    if (item.other) item.other->runLocked(item.until);
    else item.work();
  } catch (const std::exception& e) {
    if (firstFault.empty()) firstFault = e.what();
  }
  ++done_;
}

void Backlog::runLocked(uint64_t until) {
  while (done_ < until) runNext();
}

/// Some stream goes on by what it has next.
void Backlog::drift() {
  Backlog* const one = all[random(all.size())];
  if (!one->blocked()) one->runNext();
}

}  // namespace anneal::emulate
