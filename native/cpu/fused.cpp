#include "cpu/fused.h"

#include "cpu/fused_blocks.h"
#include "cpu/parallel.h"

namespace anneal::cpu {
namespace {

constexpr int64_t kGrain = 16384;

void* after(void* block, int64_t bytes) { return block ? static_cast<std::byte*>(block) + bytes : nullptr; }

}  // namespace

void runChain(const Chain& chain, std::span<const View> in, std::span<const View> out) {
  const std::vector<Source> sources = sourcesOf(chain, in, out[0].shape);
  parallelFor(out[0].size(), kGrain, [&](int64_t begin, int64_t end) {
    Tiles tiles(chain, sources, out);
    for (; begin < end; begin += kTile) tiles.run({.begin = begin, .width = std::min(kTile, end - begin)});
  });
}

ChainOnBlocks::ChainOnBlocks(const Chain& chain, std::span<const View> in, std::span<const View> out, int64_t width)
    : chain_(chain), sources_(sourcesOf(chain, in, out[0].shape)), out_(out), width_(width) {}

void ChainOnBlocks::apply(void* block, int64_t row, int64_t rows, int64_t column, int64_t columns) const {
  if (columns == width_) return tiles(block, {.begin = row * width_, .width = rows * width_});
  const auto size = int64_t(itemSize(chain_.compute));
  for (int64_t j = 0; j < columns; j += kTile) {
    const int64_t wide = std::min(kTile, columns - j), high = columns > kTile ? 1 : kTile / wide;
    for (int64_t i = 0; i < rows; i += high)
      tiles(after(block, (i * columns + j) * size), {.begin = (row + i) * width_ + column + j,
                                                     .width = wide,
                                                     .rows = std::min(high, rows - i),
                                                     .stride = width_});
  }
}

/// Of one window, or of one piece of any length.
void ChainOnBlocks::tiles(void* block, const Window& all) const {
  Tiles tiles(chain_, sources_, out_);
  if (all.rows > 1) return tiles.run(all, block);
  const auto size = int64_t(itemSize(chain_.compute));
  for (int64_t i = 0; i < all.width; i += kTile)
    tiles.run({.begin = all.begin + i, .width = std::min(kTile, all.width - i)}, after(block, i * size));
}

}  // namespace anneal::cpu
