#pragma once
#include <array>
#include <memory>
#include <span>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"

namespace anneal {

struct Block;
class Row;

/// What a kernel sees of a tensor: strides are in elements. A scalar that came with the call lies in `scalar`.
struct View {
  std::byte* memory = nullptr;
  Shape shape;
  Strides strides;
  DType dtype = DType::Float32;
  alignas(16) std::array<std::byte, 16> scalar{};
  Block* block = nullptr;  // of a device's pool
  bool weak = false;       // a number literal: see Promotion in op/infer.h
  bool defined = true;     // false: an optional input that was not given

  void* data() const { return memory ? memory : const_cast<std::byte*>(scalar.data()); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data());
  }
  int64_t size() const { return shape.product(); }
  bool contiguous() const { return isContiguous(shape, strides); }
};

/// What a kernel gets. Inputs and attributes were checked by `infer`.
template <class Attrs>
struct Call {
  const Attrs& attrs;
  std::span<const View> in;
  std::span<const View> out;
};

/// One kernel launch: everything it needs, by value.
struct Task {
  const Row* row = nullptr;
  std::shared_ptr<const void> attrs;
  std::vector<View> views;  // inputs, then outputs
  size_t inputs = 0;

  std::span<const View> in() const { return {views.data(), inputs}; }
  std::span<const View> out() const { return {views.data() + inputs, views.size() - inputs}; }
};

}  // namespace anneal
