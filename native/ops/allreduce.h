#pragma once
#include "op/row.h"

namespace anneal::ops {

/// The sum, or the mean, of tensors of one shape and dtype that lie on different devices, on each of these devices: the
/// same bits on all of them. Not a row, since the inputs of a row lie on one device.
Tensors allReduce(Inputs tensors, bool mean);

}  // namespace anneal::ops
