#pragma once
#include "op/define.h"

namespace anneal::ops {

/// torch.matmul's products of vectors, matrices and batches of matrices.
extern const Op<None> matmul;

/// The last two axes exchanged, without copying.
Tensor transposeLast(const Tensor& x);
/// x [..., last] with the axes before the last joined: [rows, last].
Tensor rowsOf(const Tensor& x);

}  // namespace anneal::ops
