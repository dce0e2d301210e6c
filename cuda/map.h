#pragma once
#include "cpu/scalar.h"
#include "op/row.h"

namespace anneal::cuda {

/// Computes an elementwise op: `params` as in Pointwise, `compute` the type that it computes in.
using Map = void (*)(const double* params, DType compute, std::span<const View> in, const View& out);

/// The map of functor number `functor` among those of `arity` operands.
Map mapOf(int arity, int functor);
/// out = F{}(in...), as the CPU's mapKernel does; `params` are the eight numbers that F is built from.
template <class F>
void mapBy(std::span<const View> in, const View& out, DType compute, const double* params = nullptr) {
  constexpr int unary = scalar::indexOf<F>(scalar::Unary{}), binary = scalar::indexOf<F>(scalar::Binary{}),
                ternary = scalar::indexOf<F>(scalar::Ternary{});
  static constexpr double none[8] = {};
  const Map map = unary >= 0 ? mapOf(1, unary) : (binary >= 0 ? mapOf(2, binary) : mapOf(3, ternary));
  map(params ? params : none, compute, in, out);
}

/// Gives every elementwise row of the registry a kernel: that of its functor.
void implementMaps();

}  // namespace anneal::cuda
