#pragma once
#include "cpu/blocks.h"
#include "runtime/task.h"

namespace anneal::cpu {

/// Normalisation of x [segments, rows, channels] over the rows and a group's channels within each segment.
struct NormColumns {
  int64_t segments = 1, rows = 0, channels = 0, groups = 1;
  double eps = 0;
  int64_t perGroup() const { return channels / groups; }
};

// Parameters and statistics may be of any float dtype or absent; computing is in float32, or float64 for float64.

/// What is done with normalised columns: a tensor like them is added, if it is defined, then a ReLU. Each rounds to the
/// dtype of the columns.
struct AfterColumns {
  View residual;
  bool relu = false;
};

/// y = (x - mean) / sqrt(variance + eps) * weight + bias, and the statistics [segments, groups].
void normalizeColumns(const NormColumns& n, const View& x, const View& weight, const View& bias, const View& y,
                      const View& mean, const View& variance, const AfterColumns& after);
/// The gradients of x, weight and bias [channels]. With the bias that was added, `masked`, which may be undefined,
/// those of what came through a ReLU.
void columnsGradient(const NormColumns& n, const View& grad, const View& x, const View& weight, const View& mean,
                     const View& variance, const View& dx, const View& dw, const View& db, const View* masked);
/// y = (x - mean) / sqrt(variance + eps) * weight + bias with statistics [channels] that are given.
void applyColumns(const NormColumns& n, const View& x, const View& mean, const View& variance, const View& weight,
                  const View& bias, const View& y);

/// Normalisation of each row of x [rows, size]: by mean and variance, or by the mean square alone.
struct NormRows {
  int64_t rows = 0, size = 0;
  double eps = 0;
  bool centered = true;
};
/// `before` computes rows of x, which may be y itself, before they are read.
void normalizeRows(const NormRows& n, const View& x, const View& weight, const View& bias, const View& y,
                   const BlockWork* before = nullptr);
/// The gradients of x, weight and bias [size]. `then` gets the rows of dx.
void rowsGradient(const NormRows& n, const View& grad, const View& x, const View& weight, const View& dx,
                  const View& dw, const View& db, const BlockWork* then = nullptr);

}  // namespace anneal::cpu
