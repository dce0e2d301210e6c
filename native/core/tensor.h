#pragma once
#include <array>
#include <memory>
#include <string>

#include "core/dtype.h"
#include "core/ref.h"
#include "core/spec.h"
#include "runtime/device.h"

namespace anneal {

class Node;
class Leaf;

/// A value in the graph of a capture (see graph/capture.h), whose numbers start at 1.
struct Symbol {
  uint64_t capture = 0;
  int value = -1;
};

/// Memory that no pool owns, such as a mapped file, which `keepalive` keeps.
class ForeignBlock : public Block {
 public:
  ForeignBlock(Device& device, std::byte* data, size_t bytes, std::shared_ptr<void> keepalive);
  ~ForeignBlock() override;

 private:
  Device& device_;
  std::shared_ptr<void> keepalive_;
};

/// No memory, but the name of a value in the graph of a capture.
class SymbolicBlock : public Block {
 public:
  explicit SymbolicBlock(Symbol symbol) : Block(Kind::Symbolic), symbol(symbol) {}
  const Symbol symbol;
};

/// Where a tensor stands in the record of differentiable operations: an output of a node, or a leaf that collects.
struct Provenance {
  Ref<Node> node;
  int index = 0;
  Ref<Leaf> leaf;
  explicit operator bool() const { return node || leaf; }
};

struct TensorImpl : public RefCounted {
  TensorImpl();
  Ref<Block> storage;     // none: a scalar held in place, or a tensor known by shape only
  bool isScalar = false;  // the value is in `scalar`
  bool weak = false;      // a number literal, which does not promote the dtype of tensors of its kind
  int64_t offset = 0;     // in elements
  Device* device = nullptr;
  Provenance provenance;
  Ref<Leaf> frozen;  // what collects again when a frozen leaf is thawed
  Spec spec;
  Strides strides;
  alignas(16) std::array<std::byte, 16> scalar;
};

/// A handle to an immutable n-dimensional value. Copies share it.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Ref<TensorImpl> impl) : impl_(std::move(impl)) {}

  bool defined() const { return bool(impl_); }
  explicit operator bool() const { return defined(); }
  const Spec& spec() const { return impl_->spec; }
  const Shape& shape() const { return impl_->spec.shape; }
  const Strides& strides() const { return impl_->strides; }
  DType dtype() const { return impl_->spec.dtype; }
  int rank() const { return shape().rank(); }
  int64_t size() const { return shape().product(); }
  int64_t size(int axis) const { return shape()[axis < 0 ? axis + rank() : axis]; }
  Device& device() const { return *impl_->device; }
  bool contiguous() const { return isContiguous(shape(), strides()); }
  bool shapeOnly() const { return !impl_->storage && !impl_->isScalar; }
  bool symbolic() const { return impl_->storage && impl_->storage->kind == Block::Kind::Symbolic; }
  /// Of a symbolic tensor.
  const Symbol& symbol() const { return static_cast<const SymbolicBlock&>(*impl_->storage).symbol; }
  bool requiresGrad() const { return bool(impl_->provenance); }
  TensorImpl* impl() const { return impl_.get(); }

  /// The same value without its place in the record.
  Tensor detach() const;
  /// A tensor with this one's shape and dtype but no value: what a gradient keeps of what it does not need.
  Tensor specOnly() const;
  /// The same memory seen through another shape; strides and offset in elements.
  Tensor alias(const Shape& shape, const Strides& strides, int64_t offset) const;
  View view() const;
  /// Makes `v`, which is new, a view of this tensor.
  void view(View& v) const;

 private:
  Ref<TensorImpl> impl_;
};

/// A tensor with memory of its own and no value yet.
Tensor emptyTensor(const Spec& spec, Device& device, bool hostWrites = false);
/// A scalar that travels with the calls that use it, needing no memory of the device.
Tensor scalarTensor(double value, DType dtype, bool weak = false);
/// Two int64 in place: the key of a random operation, read as shape [2].
Tensor keyTensor(int64_t seed, int64_t offset);

inline std::ostream& operator<<(std::ostream& out, const Tensor& t) { return t ? out << t.spec() : out << "none"; }

}  // namespace anneal
