#pragma once
#include "cpu/gemm.h"
#include "op/define.h"

namespace anneal::ops {

/// torch.matmul's products of vectors, matrices and batches of matrices.
extern const Op<None> matmul;

/// The product that `matmul` does of its inputs.
cpu::Gemm matmulProduct(std::span<const View> in, const View& out);

/// The last two axes exchanged, without copying.
Tensor transposeLast(const Tensor& x);
/// x [..., last] with the axes before the last joined: [rows, last].
Tensor rowsOf(const Tensor& x);

}  // namespace anneal::ops
