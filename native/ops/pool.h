#pragma once
#include "op/define.h"

namespace anneal::ops {

/// Lists hold one number for every spatial axis, or one for all.
struct MaxPool {
  Ints kernel, stride, padding{0}, dilation{1};
  bool ceilMode = false;
};
extern const Op<MaxPool> maxPool1d, maxPool2d, maxPool3d;

struct AveragePool {
  Ints kernel, stride, padding{0};
  bool ceilMode = false, countIncludePad = true;
};
extern const Op<AveragePool> averagePool1d, averagePool2d, averagePool3d;

struct AdaptivePool {
  Ints size;
};
extern const Op<AdaptivePool> adaptiveAveragePool1d, adaptiveAveragePool2d, adaptiveAveragePool3d;
extern const Op<AdaptivePool> adaptiveMaxPool1d, adaptiveMaxPool2d, adaptiveMaxPool3d;

struct GlobalPool {
  bool keepDims = false;
};
extern const Op<GlobalPool> globalAveragePool, globalMaxPool;

/// Windows with nothing left to default: sizes of input and output, and one number per axis in each other list.
/// Adaptive windows follow from the sizes alone.
struct Windows {
  Ints input, output, kernel, stride, padding, dilation;
  bool adaptive = false, countIncludePad = true;
};
extern const Op<Windows> maxPoolTaps, maxPoolPick, maxPoolSpread, averageWindows, averageSpread;

}  // namespace anneal::ops
