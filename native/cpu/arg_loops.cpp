#include "cpu/arg_loops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/arg_loops.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

template <class F, class T>
int64_t argRow(const void* from, int64_t n, void* found) {
  constexpr int64_t kStep = 256;
  const T* x = static_cast<const T*>(from);
  // Pieces that fit the cache: what a piece's extreme value is, and where, is known before the next one is read.
  T best = x[0];
  int64_t at = 0;
  for (int64_t begin = 0; begin < n && best == best; begin += 16 * kStep) {
    const T* piece = x + begin;
    const int64_t size = std::min(16 * kStep, n - begin);
    const T top = mergeLanes<F, T>(size, [piece](int64_t j) { return piece[j]; });
    if (begin > 0 && F::merge(best, top) == best) continue;
    best = top;
    int64_t j = 0;
    for (bool seen = false; !seen; j += seen ? 0 : kStep) {
      unsigned any = 0;
      for (int64_t l = j, end = std::min(j + kStep, size); l < end; ++l)
        any |= unsigned(piece[l] == top) | unsigned(piece[l] != piece[l]);
      seen = any != 0;
    }
    while (piece[j] != top && piece[j] == piece[j]) ++j;
    at = begin + j;
  }
  *static_cast<T*>(found) = best;
  return at;
}

template <class F, class T>
void argColumns(const void* from, int64_t n, int64_t stride, int64_t width, int64_t* indices) {
  // Indices as wide as the elements, so that both fit the same vectors; rows beyond their range come in further runs.
  using Index = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  constexpr int64_t kMost = int64_t(1) << 30;
  const T* x = static_cast<const T*>(from);
  T best[kArgWidth];
  Index place[kArgWidth];
  std::copy(x, x + width, best);
  std::fill(indices, indices + width, 0);
  for (int64_t begin = 0; begin < n; begin += kMost) {
    std::fill(place, place + width, Index(-1));
    for (int64_t i = begin; i < std::min(n, begin + kMost); ++i) {
      const T* row = x + i * stride;
      const Index index = Index(i - begin);
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) {
        const T v = row[j], b = best[j];
        const bool ahead = std::is_same_v<F, reducers::Max> ? v > b : v < b;
        const bool better = (ahead | (v != v)) & (b == b);
        best[j] = better ? v : b;
        place[j] = better ? index : place[j];
      }
    }
    for (int64_t j = 0; j < width; ++j)
      if (place[j] >= 0) indices[j] = begin + place[j];
  }
}

template <class F>
ArgLoops loopsOf(DType compute) {
  switch (compute) {
    case DType::Float32: return {argRow<F, float>, argColumns<F, float>};
    case DType::Float64: return {argRow<F, double>, argColumns<F, double>};
    case DType::Int64: return {argRow<F, int64_t>, argColumns<F, int64_t>};
    default: return {argRow<F, int32_t>, argColumns<F, int32_t>};
  }
}

ArgLoops argAt(bool largest, DType compute) {
  return largest ? loopsOf<reducers::Max>(compute) : loopsOf<reducers::Min>(compute);
}

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(argAt);
ArgLoops argLoops(bool largest, DType compute) { return HWY_DYNAMIC_DISPATCH(argAt)(largest, compute); }
}  // namespace anneal::cpu
#endif
