#pragma once
#include "cpu/gemm.h"
#include "op/define.h"

namespace anneal::ops {

/// x Wᵀ + b, with W [out, in].
extern const Op<None> linear;

/// The same, of x and weight rounded to 8 bits: each scaled by one number so that its largest element becomes 448, the
/// largest of e4m3 (Micikevicius et al., "FP8 Formats for Deep Learning", 2022). Gradients as `linear`'s.
extern const Op<None> linearFp8;

/// The product that `linear` does of its inputs.
cpu::Gemm linearProduct(std::span<const View> in, const View& out);

}  // namespace anneal::ops
