#pragma once
// What follows a product, element by element.
#include <cuda_runtime.h>

#include <type_traits>

#include "cpu/convert.h"
#include "cpu/scalar.h"
#include "epilogue.h"

namespace anneal::cuda {

template <class T>
struct Finished {
  T before, result;
};

/// Everything is rounded as it would be in memory.
template <class T>
__device__ __forceinline__ Finished<T> finished(const Epilogue& e, T product, T residual, T other) {
  using After = Epilogue::After;
  using S = std::conditional_t<std::is_same_v<T, double>, double, float>;
  if (e.residual) product = cpu::convertTo<T>(cpu::convertTo<S>(product) + cpu::convertTo<S>(residual));
  const S x = cpu::convertTo<S>(product), y = cpu::convertTo<S>(other);
  const auto as = [](S value) { return cpu::convertTo<T>(value); };
  switch (e.after) {
    case After::Relu: return {product, as(scalar::Relu()(x))};
    case After::Gelu: return {product, as(scalar::Gelu()(x))};
    case After::GeluTanh: return {product, as(scalar::GeluTanh()(x))};
    case After::ReluGrad: return {product, as(scalar::ReluGrad()(x, y))};
    case After::GeluGrad: return {product, as(scalar::GeluGrad()(x, y))};
    case After::GeluTanhGrad: return {product, as(scalar::GeluTanhGrad()(x, y))};
    default: return {product, product};
  }
}

/// Finishes element `at` of a product that lies in `from`.
template <class T>
__device__ __forceinline__ void finishElement(const Epilogue& e, const T* from, T* to, int64_t at) {
  const T none = cpu::convertTo<T>(0.0f);
  const T residual = e.residual ? static_cast<const T*>(e.residual)[at] : none;
  const T other = e.other ? static_cast<const T*>(e.other)[at] : none;
  const Finished<T> value = finished(e, from[at], residual, other);
  if (e.before) static_cast<T*>(e.before)[at] = value.before;
  to[at] = value.result;
}

}  // namespace anneal::cuda
