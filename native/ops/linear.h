#pragma once
#include "cpu/gemm.h"
#include "op/define.h"

namespace anneal::ops {

/// x Wᵀ + b, with W [out, in].
extern const Op<None> linear;

/// The product that `linear` does of its inputs.
cpu::Gemm linearProduct(std::span<const View> in, const View& out);

}  // namespace anneal::ops
