#pragma once
#include "cpu/blocks.h"
#include "cpu/fused_tiles.h"

namespace anneal::cpu {

/// A chain over a matrix of `width` columns, block by block. Where it has one more input than `in`, the first is the
/// block.
class ChainOnBlocks final : public BlockWork {
 public:
  ChainOnBlocks(const Chain& chain, std::span<const View> in, std::span<const View> out, int64_t width);
  void apply(void* block, int64_t row, int64_t rows, int64_t column, int64_t columns) const override;

 private:
  void tiles(void* block, const Window& all) const;
  const Chain& chain_;
  const std::vector<Source> sources_;
  std::span<const View> out_;
  int64_t width_;
};

}  // namespace anneal::cpu
