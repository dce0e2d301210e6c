#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "cpu/fused.h"

namespace anneal::passes {

/// A chain of elementwise operations on a product in the form that GPUs have kernels for:
/// after(product + bias + residual, other).
struct ProductForm {
  enum class After : uint8_t { Nothing, Relu, Gelu, GeluTanh, ReluGrad, GeluGrad, GeluTanhGrad };
  After after = After::Nothing;
  int bias = -1, residual = -1, other = -1;  // registers of the chain's inputs; -1: there is none
  int before = -1, result = -1;              // outputs: what `after` is applied to, or -1, and what it gives
};

/// The form of a chain whose register 0 is the product, a matrix of `width` columns that look like `out`, and whose
/// other inputs are `in`; none if it has another.
std::optional<ProductForm> productForm(const cpu::Chain& chain, std::span<const View> in, const View& out,
                                       int64_t width);

}  // namespace anneal::passes
