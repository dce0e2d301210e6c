#pragma once
#include "cpu/convert.h"
#include "launch.h"
#include "runtime/task.h"

namespace anneal::cuda {

/// An element of any dtype as T.
template <class T>
__device__ inline T loadAs(const void* memory, DType dtype, int64_t at) {
  switch (dtype) {
    case DType::Float32: return cpu::convertTo<T>(static_cast<const float*>(memory)[at]);
    case DType::Float64: return cpu::convertTo<T>(static_cast<const double*>(memory)[at]);
    case DType::Float16: return cpu::convertTo<T>(static_cast<const Half*>(memory)[at]);
    case DType::BFloat16: return cpu::convertTo<T>(static_cast<const BFloat16*>(memory)[at]);
    case DType::Int8: return cpu::convertTo<T>(static_cast<const int8_t*>(memory)[at]);
    case DType::UInt8: return cpu::convertTo<T>(static_cast<const uint8_t*>(memory)[at]);
    case DType::Int32: return cpu::convertTo<T>(static_cast<const int32_t*>(memory)[at]);
    case DType::Int64: return cpu::convertTo<T>(static_cast<const int64_t*>(memory)[at]);
    default: return cpu::convertTo<T>(static_cast<const bool*>(memory)[at]);
  }
}

/// `value` as an element of any dtype.
template <class T>
__device__ inline void storeAs(void* memory, DType dtype, int64_t at, T value) {
  switch (dtype) {
    case DType::Float32: static_cast<float*>(memory)[at] = cpu::convertTo<float>(value); break;
    case DType::Float64: static_cast<double*>(memory)[at] = cpu::convertTo<double>(value); break;
    case DType::Float16: static_cast<Half*>(memory)[at] = cpu::convertTo<Half>(value); break;
    case DType::BFloat16: static_cast<BFloat16*>(memory)[at] = cpu::convertTo<BFloat16>(value); break;
    case DType::Int8: static_cast<int8_t*>(memory)[at] = cpu::convertTo<int8_t>(value); break;
    case DType::UInt8: static_cast<uint8_t*>(memory)[at] = cpu::convertTo<uint8_t>(value); break;
    case DType::Int32: static_cast<int32_t*>(memory)[at] = cpu::convertTo<int32_t>(value); break;
    case DType::Int64: static_cast<int64_t*>(memory)[at] = cpu::convertTo<int64_t>(value); break;
    default: static_cast<bool*>(memory)[at] = cpu::convertTo<bool>(value);
  }
}

/// A scalar that came with the call, as T; on the host.
template <class T>
T scalarAs(const View& v) {
  return visitType(v.dtype, [&]<class S>(TypeTag<S>) {
    S stored;
    std::memcpy(&stored, v.scalar.data(), sizeof stored);
    return cpu::convertTo<T>(stored);
  });
}

}  // namespace anneal::cuda
