#pragma once
#include "core/dtype.h"
#include "core/portable.h"
#include "graph/passes/product_form.h"

namespace anneal::cuda {

/// What follows a product, before or after which nothing else touches its memory: everything lies as C does, which has
/// no gaps, and is of its dtype.
struct Epilogue {
  using After = passes::ProductForm::After;
  After after = After::Nothing;
  const void* residual = nullptr;  // is added
  void* before = nullptr;          // gets what `after` is applied to
  const void* other = nullptr;     // what the gradient of an activation reads beside the product

  ANNEAL_HD bool empty() const { return after == After::Nothing && !residual && !before; }
  /// The same of matrices that begin `bytes` later.
  Epilogue from(size_t bytes) const {
    const auto at = [&](const void* p) {
      return p ? const_cast<std::byte*>(static_cast<const std::byte*>(p)) + bytes : nullptr;
    };
    return {after, at(residual), at(before), at(other)};
  }
};

/// to = what follows the product in `from`, n elements without gaps; `from` may be `to` or `before`. One by one,
/// operations give the same bits.
void finishProduct(DType dtype, const void* from, void* to, const Epilogue& epilogue, int64_t n);

/// Whether what follows products and convolutions is to be a pass of its own: to find out which of both is to blame.
bool choosesApart();

}  // namespace anneal::cuda
