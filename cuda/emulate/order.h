#pragma once
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace anneal::emulate {

/// The order in which the emulator runs what a GPU runs at once. ANNEAL_EMULATE_ORDER names it:
///   forward, reverse   blocks and threads by their numbers; forward unless another is named
///   random:SEED        blocks, threads, and after each wait those that may go on, in any order
///   warps:SEED         warps in any order, each as far as it gets without the others, and its threads in any order
/// Without a seed one is drawn, and said on stderr.
class Order {
 public:
  /// Begins anew for the `block`-th block of the `launch`-th grid.
  void begin(uint64_t launch, uint64_t block);
  /// The numbers of a grid's blocks.
  std::vector<int64_t> blocks(int64_t count);
  /// The numbers of a block's threads, in groups that run one after the other.
  std::vector<std::vector<unsigned>> threads(unsigned count);
  /// Whether a thread that need not wait lets others go first.
  bool pauses();
  template <class T>
  void mix(std::vector<T>& items) {
    if (!drawn()) return;
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random_() % i]);
  }

 private:
  static bool drawn();
  std::minstd_rand random_;
};

}  // namespace anneal::emulate
