#pragma once
#include "device.h"

namespace anneal::cuda {

/// out[j] = the sum over i of pieces[i][j], for each of `columns`; in the same order always.
template <class C>
void sumPieces(const C* pieces, int64_t count, int64_t columns, C* out);

}  // namespace anneal::cuda
