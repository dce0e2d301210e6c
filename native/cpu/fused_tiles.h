#pragma once
// The interpreter of chains: what runs over one tile after the other.
#include <array>

#include "cpu/fused.h"

namespace anneal::cpu {

inline constexpr int64_t kTile = 1024;  // elements: a few registers of them stay in the first-level cache

/// How one input is read: in place, as one value, or through a copy of each tile.
class Source {
 public:
  enum class Way { Direct, Fixed, Copied };
  Source(const View& v, const Shape& target, DType compute);
  Way way() const { return way_; }
  /// Element `i` of one that is read directly.
  const std::byte* at(int64_t i) const { return data_ + i * itemSize_; }
  /// Elements `begin` to `begin + n` of the target, converted.
  void copy(int64_t begin, int64_t n, std::byte* to) const;

 private:
  void join(const Shape& target, const Strides& full);
  Way way_ = Way::Direct;
  const std::byte* data_;
  Shape shape_;  // with axes joined where the memory allows
  Strides strides_;
  int64_t itemSize_, toSize_;
  Convert convert_;
};

std::vector<Source> sourcesOf(const Chain& chain, std::span<const View> in, const Shape& target);

/// The elements of a tile: `rows` pieces of `width`, `stride` apart, from `begin` on.
struct Window {
  int64_t begin = 0, width = 0, rows = 1, stride = 0;
  int64_t size() const { return rows * width; }
};

/// One thread's registers.
class Tiles {
 public:
  /// Sources are those of the last registers of the inputs: `given` values come before them.
  Tiles(const Chain& chain, const std::vector<Source>& sources, std::span<const View> out);
  /// Computes a tile; register 0 is at `given`, without gaps, if there is one more input than sources.
  void run(const Window& w, const void* given = nullptr);
  /// What register `r` holds of the last tile, and whether it is one value for all of it.
  const std::byte* at(int r) const { return at_[size_t(r)]; }
  bool fixed(int r) const { return fixed_[size_t(r)]; }

 private:
  std::byte* own(int r) { return reinterpret_cast<std::byte*>(memory_ + int64_t(r) * kTile); }
  void read(size_t i, const Window& w);
  void write(size_t i, const Window& w) const;

  const Chain& chain_;
  const std::vector<Source>& sources_;
  std::span<const View> out_;
  size_t first_;  // register of the first source
  int64_t size_;
  double* memory_;  // as wide as the widest type
  std::array<std::byte*, Chain::kMostRegisters> at_;
  std::array<bool, Chain::kMostRegisters> fixed_{};
};

}  // namespace anneal::cpu
