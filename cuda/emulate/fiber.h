#pragma once
#include <functional>
#include <memory>

namespace anneal::emulate {

/// A function on a stack of its own that can be left in its midst and gone on with later, on one thread of the host.
class Fiber {
 public:
  explicit Fiber(std::function<void()> body);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Runs the body until it leaves or ends.
  void enter();
  /// Inside of the body: goes back to whoever entered.
  void leave();
  bool ended() const;
  /// Makes an ended fiber ready to run its body again.
  void restart();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace anneal::emulate
