#include "core/tensor.h"

#include "core/access.h"
#include "graph/tape.h"

namespace anneal {

Storage::Storage(Device& device, const Spec& spec, bool hostWrites)
    : device_(device),
      block_(device.allocate(spec, hostWrites)),
      data_(block_->data),
      bytes_(size_t(spec.size()) * itemSize(spec.dtype)) {
  // A task clears the fault of what it writes; what the host writes has no task.
  if (!hostWrites) return;
  block_->fault = nullptr;
  allowAccess(data_, bytes_);
}

Storage::Storage(Device& device, std::byte* foreign, size_t bytes, std::shared_ptr<void> keepalive)
    : device_(device), data_(foreign), bytes_(bytes), keepalive_(std::move(keepalive)) {}

Storage::~Storage() {
  if (block_) device_.release(block_);
  // Queued tasks may still read foreign memory: it goes when the stream has passed this point.
  if (keepalive_ && !device_.idle()) device_.enqueue([kept = std::move(keepalive_)] {});
}

namespace {

Ref<TensorImpl> copyOf(const TensorImpl& from) {
  auto impl = makeRef<TensorImpl>();
  impl->spec = from.spec;
  impl->strides = from.strides;
  impl->offset = from.offset;
  impl->device = from.device;
  impl->storage = from.storage;
  impl->scalar = from.scalar;
  impl->isScalar = from.isScalar;
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
  return Tensor(impl);
}

Tensor Tensor::alias(const Shape& shape, const Strides& strides, int64_t offset) const {
  auto impl = copyOf(*impl_);
  impl->spec.shape = shape;
  impl->strides = strides;
  impl->offset = offset;
  impl->weak = false;
  return Tensor(impl);
}

View Tensor::view() const {
  View v;
  v.shape = shape();
  v.strides = strides();
  v.dtype = dtype();
  v.weak = impl_->weak;
  if (impl_->storage) {
    v.memory = impl_->storage->data() + impl_->offset * int64_t(itemSize(dtype()));
    v.block = impl_->storage->block();
  } else {
    v.scalar = impl_->scalar;
  }
  return v;
}

Tensor emptyTensor(const Spec& spec, Device& device, bool hostWrites) {
  auto impl = makeRef<TensorImpl>();
  impl->spec = spec;
  impl->strides = contiguousStrides(spec.shape);
  impl->device = &device;
  impl->storage = makeRef<Storage>(device, spec, hostWrites);
  return Tensor(impl);
}

Tensor scalarTensor(double value, DType dtype, bool weak) {
  auto impl = makeRef<TensorImpl>();
  impl->spec.dtype = dtype;
  impl->device = &device();
  impl->isScalar = true;
  impl->weak = weak;
  visitType(dtype, [&]<class T>(TypeTag<T>) {
    T stored;
    if constexpr (std::is_same_v<T, Half>) stored = toHalf(float(value));
    else if constexpr (std::is_same_v<T, BFloat16>) stored = toBFloat16(float(value));
    else stored = T(value);
    std::memcpy(impl->scalar.data(), &stored, sizeof stored);
  });
  return Tensor(impl);
}

Tensor keyTensor(int64_t seed, int64_t offset) {
  auto impl = makeRef<TensorImpl>();
  impl->spec = {{2}, DType::Int64};
  impl->strides = {1};
  impl->device = &device();
  impl->isScalar = true;
  std::memcpy(impl->scalar.data(), &seed, sizeof seed);
  std::memcpy(impl->scalar.data() + sizeof seed, &offset, sizeof offset);
  return Tensor(impl);
}

}  // namespace anneal
