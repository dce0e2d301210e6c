#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <string>

namespace anneal::emulate {

/// Whether streams do what they are given late, as a GPU may: ANNEAL_EMULATE_LATE=SEED. Nothing is done before somebody
/// waits for it, but for a little here and there, as the seed's random numbers have it. Then what nobody waits for is
/// found: memory that is read, written or given to others too early.
bool late();

/// What a stream has been given and has not done yet.
class Backlog {
 public:
  Backlog();  // as long as the process
  void add(std::function<void()> work);
  /// What follows is done when `other` has done so many.
  void addWait(Backlog& other, uint64_t until);
  uint64_t given() const;
  /// Whether that many have been done. Those who ask again and again come to see it.
  bool has(uint64_t until);
  void run(uint64_t until);
  /// What went wrong in what was done late; empty: nothing.
  static std::string fault();

 private:
  struct Item {
    std::function<void()> work;
    Backlog* other = nullptr;
    uint64_t until = 0;
  };
  void give(Item item);
  bool blocked() const;
  void runNext();
  void runLocked(uint64_t until);
  static void drift();

  std::deque<Item> items_;
  uint64_t given_ = 0, done_ = 0;
};

}  // namespace anneal::emulate
