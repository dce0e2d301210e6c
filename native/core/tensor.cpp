#include "core/tensor.h"

#include "core/access.h"
#include "cpu/convert.h"
#include "graph/tape.h"

namespace anneal {

ForeignBlock::ForeignBlock(Device& device, std::byte* data, size_t bytes, std::shared_ptr<void> keepalive)
    : Block(Kind::Foreign), device_(device), keepalive_(std::move(keepalive)) {
  this->data = data;
  this->bytes = bytes;
}

ForeignBlock::~ForeignBlock() {
  // Queued tasks may still read the memory: it goes when the stream has passed this point.
  if (keepalive_ && !device_.idle()) device_.enqueue([kept = std::move(keepalive_)] {});
}

TensorImpl::TensorImpl() {}  // NOLINT(modernize-use-equals-default): that would clear all of it first

namespace {

Ref<TensorImpl> copyOf(const TensorImpl& from) {
  auto impl = makeRef<TensorImpl>();
  impl->spec = from.spec;
  impl->strides = from.strides;
  impl->offset = from.offset;
  impl->device = from.device;
  impl->storage = from.storage;
  impl->isScalar = from.isScalar;
  if (from.isScalar) impl->scalar = from.scalar;
  impl->weak = from.weak;
  return impl;
}

}  // namespace

Tensor Tensor::detach() const { return Tensor(copyOf(*impl_)); }

Tensor Tensor::specOnly() const {
  auto impl = makeRef<TensorImpl>();
  impl->spec = impl_->spec;
  impl->strides = contiguousStrides(shape());
  impl->device = impl_->device;
  impl->weak = impl_->weak;
  return Tensor(std::move(impl));
}

Tensor Tensor::alias(const Shape& shape, const Strides& strides, int64_t offset) const {
  auto impl = copyOf(*impl_);
  impl->spec.shape = shape;
  impl->strides = strides;
  impl->offset = offset;
  impl->weak = false;
  return Tensor(std::move(impl));
}

View Tensor::view() const {
  View v;
  view(v);
  return v;
}

void Tensor::view(View& v) const {
  v.shape = shape();
  v.strides = strides();
  v.dtype = dtype();
  v.weak = impl_->weak;
  if (Block* block = impl_->storage.get()) {
    v.memory = block->data + impl_->offset * int64_t(itemSize(dtype()));
    if (block->kind == Block::Kind::Pooled) v.block = block;
  } else if (impl_->isScalar) {
    v.scalar = impl_->scalar;
  }
}

Tensor emptyTensor(const Spec& spec, Device& device, bool hostWrites) {
  auto impl = makeRef<TensorImpl>();
  impl->spec = spec;
  impl->strides = contiguousStrides(spec.shape);
  impl->device = &device;
  impl->storage = device.allocate(spec, hostWrites);
  if (hostWrites) {
    // A task clears the fault of what it writes; what the host writes has no task.
    impl->storage->fault = nullptr;
    allowAccess(impl->storage->data, impl->storage->bytes);
  }
  return Tensor(std::move(impl));
}

Tensor scalarTensor(double value, DType dtype, bool weak) {
  auto impl = makeRef<TensorImpl>();
  impl->spec.dtype = dtype;
  impl->device = &device();
  impl->isScalar = true;
  impl->weak = weak;
  impl->scalar = {};
  visitType(dtype, [&]<class T>(TypeTag<T>) {
    const T stored = cpu::convertTo<T>(value);
    std::memcpy(impl->scalar.data(), &stored, sizeof stored);
  });
  return Tensor(std::move(impl));
}

Tensor keyTensor(int64_t seed, int64_t offset) {
  auto impl = makeRef<TensorImpl>();
  impl->spec = {{2}, DType::Int64};
  impl->strides = {1};
  impl->device = &device();
  impl->isScalar = true;
  std::memcpy(impl->scalar.data(), &seed, sizeof seed);
  std::memcpy(impl->scalar.data() + sizeof seed, &offset, sizeof offset);
  return Tensor(std::move(impl));
}

}  // namespace anneal
