#pragma once
#include "rowwise.cuh"

namespace anneal::cuda {

/// to[j] = the sum over i of from[i * pitch + j], for each of `columns`, in the same order always; added to what is
/// there if `add`.
template <class T>
void sumColumns(const T* from, int64_t rows, int64_t columns, int64_t pitch, bool add, Computed<T>* to);

/// ofA[j] = the sum over i of a[i][j], for each of `columns`, and ofB[j] that of b[i][j]: in one kernel, since there
/// are few blocks for each.
template <class C>
void sumBothPieces(const C* a, const C* b, int64_t count, int64_t columns, C* ofA, C* ofB);

}  // namespace anneal::cuda
