#pragma once
#include "op/define.h"

namespace anneal::ops {

enum class ResizeMode { Nearest, Linear, Bilinear, Trilinear };

struct Resize {
  Ints size;                  // one number per spatial axis, or one for all; empty: by `scale`
  std::vector<double> scale;  // likewise
  ResizeMode mode = ResizeMode::Nearest;
  bool alignCorners = false;
};
extern const Op<Resize> resize;

/// A resize with nothing left to default; `scale` is empty where it follows from the sizes.
struct Resample {
  Ints input, output;
  std::vector<double> scale;
  bool nearest = true, alignCorners = false;
};
extern const Op<Resample> resample, resampleGradient;

}  // namespace anneal::ops
