#pragma once
#include "rowwise.cuh"

namespace anneal::cuda {

/// to[j] = the sum over i of from[i * pitch + j], for each of `columns`, in the same order always; added to what is
/// there if `add`.
template <class T>
void sumColumns(const T* from, int64_t rows, int64_t columns, int64_t pitch, bool add, Computed<T>* to);

/// out[j] = the sum over i of pieces[i][j], for each of `columns`.
template <class C>
void sumPieces(const C* pieces, int64_t count, int64_t columns, C* out) {
  sumColumns(pieces, count, columns, columns, false, out);
}

}  // namespace anneal::cuda
