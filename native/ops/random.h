#pragma once
#include "op/define.h"

namespace anneal::ops {

struct RandomUniform {
  Ints shape;
  double low = 0, high = 1;
  DType dtype = DType::Float32;
};
extern const Op<RandomUniform> randomUniform;

struct RandomNormal {
  Ints shape;
  double mean = 0, std = 1;
  DType dtype = DType::Float32;
};
extern const Op<RandomNormal> randomNormal;

struct TruncatedNormal {
  Ints shape;
  double mean = 0, std = 1, low = -2, high = 2;
  DType dtype = DType::Float32;
};
extern const Op<TruncatedNormal> truncatedNormal;

/// The probabilities between which numbers are drawn, whose standard normal quantiles are scaled by `std` and moved by
/// the mean. A range above the mean is that below it, mirrored by a negative `std`: only near 0 are probabilities
/// precise.
struct NormalRange {
  double from, to, std;
};
NormalRange rangeOf(const TruncatedNormal& a);

struct Bernoulli {
  Ints shape;
  double p = 0.5;
  DType dtype = DType::Float32;
};
extern const Op<Bernoulli> bernoulli;

struct RandomInt {
  Ints shape;
  int64_t low = 0, high = 1;
  DType dtype = DType::Int64;
};
extern const Op<RandomInt> randomInt;

struct Permutation {
  int64_t size = 0;
  DType dtype = DType::Int64;
};
extern const Op<Permutation> permutation;

struct Dropout {
  double p = 0.5;
  bool training = true;
};
extern const Op<Dropout> dropout;

struct DropoutMask {
  double p = 0.5;
};
/// Dropout while training.
extern const Op<DropoutMask> dropoutMask;

}  // namespace anneal::ops
