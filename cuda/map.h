#pragma once
#include "op/row.h"

namespace anneal::cuda {

/// Computes an elementwise op: `params` as in Pointwise, `compute` the type that it computes in.
using Map = void (*)(const double* params, DType compute, std::span<const View> in, const View& out);

/// Gives every elementwise row of the registry a kernel: that of its functor.
void implementMaps();

}  // namespace anneal::cuda
