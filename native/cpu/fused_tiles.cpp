#include "cpu/fused_tiles.h"

#include <cstring>

#include "cpu/workspace.h"

namespace anneal::cpu {

Source::Source(const View& v, const Shape& target, DType compute)
    : data_(static_cast<const std::byte*>(v.data())),
      itemSize_(int64_t(anneal::itemSize(v.dtype))),
      toSize_(int64_t(anneal::itemSize(compute))),
      convert_(converter(v.dtype, compute)) {
  if (v.size() == 1) {
    way_ = Way::Fixed;
    shape_ = {1};
    strides_ = {1};
  } else if (v.dtype != compute || v.shape != target || !v.contiguous()) {
    join(target, broadcastStrides(v.shape, v.strides, target));
  }
}

std::vector<Source> sourcesOf(const Chain& chain, std::span<const View> in, const Shape& target) {
  std::vector<Source> sources;
  sources.reserve(in.size());
  for (const View& v : in) sources.emplace_back(v, target, chain.compute);
  return sources;
}

void Source::join(const Shape& target, const Strides& full) {
  way_ = Way::Copied;
  for (int axis = 0; axis < target.rank(); ++axis) {
    if (target[axis] == 1) continue;
    const int last = shape_.rank() - 1;
    if (last >= 0 && strides_[last] == full[axis] * target[axis]) {
      shape_[last] *= target[axis];
      strides_[last] = full[axis];
    } else {
      shape_.push(target[axis]);
      strides_.push(full[axis]);
    }
  }
}

void Source::copy(int64_t begin, int64_t n, std::byte* to) const {
  if (way_ == Way::Direct) {
    std::memcpy(to, at(begin), size_t(n * toSize_));
    return;
  }
  const int inner = shape_.rank() - 1;
  const int64_t width = shape_[inner], stride = strides_[inner];
  int64_t column = begin % width, row = begin / width;
  while (n > 0) {
    int64_t at = column * stride, outer = row;
    for (int axis = inner - 1; axis >= 0; --axis) {
      at += outer % shape_[axis] * strides_[axis];
      outer /= shape_[axis];
    }
    const int64_t count = std::min(n, width - column);
    convert_(data_ + at * itemSize_, stride, to, 1, count);
    to += count * toSize_;
    n -= count;
    column = 0;
    ++row;
  }
}

Tiles::Tiles(const Chain& chain, const std::vector<Source>& sources, std::span<const View> out)
    : chain_(chain),
      sources_(sources),
      out_(out),
      first_(size_t(chain.inputs) - sources.size()),
      size_(int64_t(itemSize(chain.compute))),
      memory_(workspace<double>(Purpose::Scores, size_t(chain.registers) * kTile)) {
  for (size_t i = 0; i < sources.size(); ++i) {
    if (sources[i].way() != Source::Way::Fixed) continue;
    const size_t r = first_ + i;
    fixed_[r] = true;
    at_[r] = own(int(r));
    sources[i].copy(0, 1, at_[r]);
  }
}

void Tiles::run(const Window& w, const void* given) {
  if (first_) at_[0] = static_cast<std::byte*>(const_cast<void*>(given));
  for (size_t i = 0; i < sources_.size(); ++i) read(i, w);
  for (int r = chain_.inputs; r < chain_.registers; ++r) at_[size_t(r)] = own(r);
  if (w.rows == 1)
    for (size_t i = 0; i < chain_.outputs.size(); ++i)
      if (chain_.outputs[i] >= chain_.inputs)
        at_[size_t(chain_.outputs[i])] = out_[i].as<std::byte>() + w.begin * size_;
  for (const auto& instruction : chain_.instructions) {
    const void* in[3];
    bool fixed[3];
    for (int i = 0; i < instruction.inputs; ++i) {
      const auto from = size_t(instruction.from[size_t(i)]);
      in[i] = at_[from];
      fixed[i] = fixed_[from];
    }
    instruction.loop(in, fixed, at_[size_t(instruction.to)], w.size(), instruction.params.data());
  }
  for (size_t i = 0; i < chain_.outputs.size(); ++i) write(i, w);
}

void Tiles::read(size_t i, const Window& w) {
  const Source& s = sources_[i];
  const size_t r = first_ + i;
  if (s.way() == Source::Way::Fixed) return;
  if (s.way() == Source::Way::Direct && w.rows == 1) {
    at_[r] = const_cast<std::byte*>(s.at(w.begin));
    return;
  }
  at_[r] = own(int(r));
  for (int64_t row = 0; row < w.rows; ++row) s.copy(w.begin + row * w.stride, w.width, at_[r] + row * w.width * size_);
}

/// Moves an output to its place, if it has not been computed there.
void Tiles::write(size_t i, const Window& w) const {
  const std::byte* from = at_[size_t(chain_.outputs[i])];
  std::byte* to = out_[i].as<std::byte>() + w.begin * size_;
  if (from == to) return;
  for (int64_t row = 0; row < w.rows; ++row)
    std::memcpy(to + row * w.stride * size_, from + row * w.width * size_, size_t(w.width * size_));
}

}  // namespace anneal::cpu
