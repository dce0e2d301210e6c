#pragma once
#include "cpu/blocks.h"
#include "op/define.h"

namespace anneal::ops {

struct BatchNorm {
  double eps = 1e-5;
};
/// With the batch's own statistics: y, mean and variance (of the population) of every channel.
extern const Op<BatchNorm> batchNormTrain;
/// With statistics that are given.
extern const Op<BatchNorm> batchNorm;

struct GroupNorm {
  int64_t groups = 1;
  double eps = 1e-5;
};
extern const Op<GroupNorm> groupNorm;
extern const Op<BatchNorm> instanceNorm;

/// Over groups of channels and all spatial axes, within each batch element or over the whole batch. In captured graphs
/// a residual that is added, and then a ReLU, are done with it; the gradient masks what comes back through such a ReLU.
struct NormalizeGroups {
  int64_t groups = 1;
  double eps = 1e-5;
  bool wholeBatch = false;
  bool relu = false;
};
extern const Op<NormalizeGroups> normalizeGroups, normalizeGroupsGradient;

struct LayerNorm {
  int64_t axes = 1;
  double eps = 1e-5;
};
extern const Op<LayerNorm> layerNorm;

struct RmsNorm {
  int64_t axes = 1;
  std::optional<double> eps;
};
extern const Op<RmsNorm> rmsNorm;

struct NormalizeRows {
  int64_t axes = 1;
  double eps = 1e-5;
  bool centered = true;
};
extern const Op<NormalizeRows> normalizeRowsGradient;

NormalizeRows normalizedRows(const LayerNorm& a);
NormalizeRows normalizedRows(const RmsNorm& a, DType dtype);
/// The kernels, with something that computes rows of x before they are read, or that takes rows of the input's gradient
/// when they are there.
void normalizeRowsCpu(const NormalizeRows& a, const View& x, const View& weight, const View& bias, const View& y,
                      const cpu::BlockWork* before);
void rowsGradientCpu(const Call<NormalizeRows>& c, const cpu::BlockWork* then);

}  // namespace anneal::ops
