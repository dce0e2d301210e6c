#pragma once
#include "ops/conv.h"

namespace anneal::ops {

/// What passes make of convolutions whose weights do not change.
struct ConvInference : Conv {
  bool relu = false;
  bool packed = false;  // the weight comes from packConv
};
extern const Op<ConvInference> convInference;

struct FoldNorm {
  double eps = 1e-5;
};
/// The weight and the bias of a convolution that does a batch norm's work too.
extern const Op<FoldNorm> foldNormWeight, foldNormBias;

/// A convolution's weight as its kernel wants it, for inputs of the shape `size`: [elements], of no use otherwise.
struct PackConv : Conv {
  Ints size;
};
extern const Op<PackConv> packConv;

}  // namespace anneal::ops
