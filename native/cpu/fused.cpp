#include "cpu/fused.h"

#include <cstring>

#include "cpu/parallel.h"
#include "cpu/workspace.h"

namespace anneal::cpu {
namespace {

constexpr int64_t kTile = 1024;  // elements: a few registers of them stay in the first-level cache
constexpr int64_t kGrain = 16384;

/// How one input is read: in place, as one value, or through a copy of each tile.
struct Source {
  enum class Way { Direct, Fixed, Copied } way = Way::Direct;
  const std::byte* data = nullptr;
  Shape shape;  // with axes joined where the memory allows
  Strides strides;
  int64_t itemSize = 0;
  Convert convert = nullptr;

  Source(const View& v, const Shape& target, DType compute)
      : data(static_cast<const std::byte*>(v.data())),
        itemSize(int64_t(anneal::itemSize(v.dtype))),
        convert(converter(v.dtype, compute)) {
    if (v.size() == 1) way = Way::Fixed;
    else if (v.dtype == compute && v.shape == target && v.contiguous()) way = Way::Direct;
    else join(target, broadcastStrides(v.shape, v.strides, target));
  }

  /// Elements `begin` to `begin + n` of the target, row by row.
  void copy(int64_t begin, int64_t n, std::byte* to, int64_t toSize) const {
    const int inner = shape.rank() - 1;
    const int64_t width = shape[inner], stride = strides[inner];
    int64_t column = begin % width, row = begin / width;
    while (n > 0) {
      int64_t at = column * stride, outer = row;
      for (int axis = inner - 1; axis >= 0; --axis) {
        at += outer % shape[axis] * strides[axis];
        outer /= shape[axis];
      }
      const int64_t count = std::min(n, width - column);
      convert(data + at * itemSize, stride, to, 1, count);
      to += count * toSize;
      n -= count;
      column = 0;
      ++row;
    }
  }

 private:
  void join(const Shape& target, const Strides& full) {
    way = Way::Copied;
    for (int axis = 0; axis < target.rank(); ++axis) {
      if (target[axis] == 1) continue;
      const int last = shape.rank() - 1;
      if (last >= 0 && strides[last] == full[axis] * target[axis]) {
        shape[last] *= target[axis];
        strides[last] = full[axis];
      } else {
        shape.push(target[axis]);
        strides.push(full[axis]);
      }
    }
  }
};

/// One thread's registers.
class Tiles {
 public:
  Tiles(const Chain& chain, const std::vector<Source>& sources, std::span<const View> out)
      : chain_(chain),
        sources_(sources),
        size_(int64_t(itemSize(chain.compute))),
        memory_(workspace<double>(Purpose::Scores, size_t(chain.registers) * kTile)),
        at_(size_t(chain.registers)),
        fixed_(size_t(chain.registers)) {
    for (const View& v : out) outputs_.push_back(v.as<std::byte>());
    for (size_t i = 0; i < sources.size(); ++i) {
      if (sources[i].way != Source::Way::Fixed) continue;
      fixed_[i] = true;
      at_[i] = own(int(i));
      sources[i].convert(sources[i].data, 1, at_[i], 1, 1);
    }
  }

  void run(int64_t begin, int64_t n) {
    for (size_t i = 0; i < sources_.size(); ++i) {
      const Source& s = sources_[i];
      if (s.way == Source::Way::Direct) at_[i] = const_cast<std::byte*>(s.data) + begin * size_;
      if (s.way != Source::Way::Copied) continue;
      at_[i] = own(int(i));
      s.copy(begin, n, at_[i], size_);
    }
    for (int r = chain_.inputs; r < chain_.registers; ++r) at_[size_t(r)] = own(r);
    for (size_t i = 0; i < outputs_.size(); ++i) at_[size_t(chain_.outputs[i])] = outputs_[i] + begin * size_;
    for (const auto& instruction : chain_.instructions) {
      const void* in[3];
      bool fixed[3];
      for (int i = 0; i < instruction.inputs; ++i) {
        const auto from = size_t(instruction.from[size_t(i)]);
        in[i] = at_[from];
        fixed[i] = fixed_[from];
      }
      instruction.loop(in, fixed, at_[size_t(instruction.to)], n, instruction.params.data());
    }
  }

 private:
  std::byte* own(int r) { return reinterpret_cast<std::byte*>(memory_ + int64_t(r) * kTile); }

  const Chain& chain_;
  const std::vector<Source>& sources_;
  int64_t size_;
  double* memory_;  // as wide as the widest type
  std::vector<std::byte*> at_;
  std::vector<char> fixed_;
  std::vector<std::byte*> outputs_;
};

}  // namespace

void runChain(const Chain& chain, std::span<const View> in, std::span<const View> out) {
  const int64_t size = out[0].size();
  if (size == 0) return;
  std::vector<Source> sources;
  for (const View& v : in) sources.emplace_back(v, out[0].shape, chain.compute);
  parallelFor(size, kGrain, [&](int64_t begin, int64_t end) {
    Tiles tiles(chain, sources, out);
    for (; begin < end; begin += kTile) tiles.run(begin, std::min(kTile, end - begin));
  });
}

}  // namespace anneal::cpu
