#pragma once
#include "op/define.h"

namespace anneal::passes {

/// A product of two matrices, and the sums of one of them over the inner axis: the gradients of a linear layer's weight
/// and bias. Inputs: the factors. Outputs: the product, the sums.
struct ProductWithSums {
  bool right = false;  // whether the sums are those of the right factor
};
extern const Op<ProductWithSums> productWithSums;

}  // namespace anneal::passes
