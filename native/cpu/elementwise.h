#pragma once
#include <span>

#include "cpu/convert.h"
#include "cpu/scalar.h"
#include "op/define.h"
#include "op/infer.h"

namespace anneal::cpu {

inline constexpr int kMaxOperands = 4;

/// Computes n results from contiguous operands; one with `fixed` set is a single value for all of them.
using Loop = void (*)(const void* const* in, const bool* fixed, void* out, int64_t n, const double* params);

/// A functor's loops, one for each type that kernels compute in; null where it takes floats only.
struct LoopSet {
  Loop f32 = nullptr, f64 = nullptr, i32 = nullptr, i64 = nullptr;
  bool boolResult = false;  // writes bool instead of the type it computes in
  Loop of(DType compute) const {
    switch (compute) {
      case DType::Float32: return f32;
      case DType::Float64: return f64;
      case DType::Int64: return i64;
      default: return i32;
    }
  }
};

/// The loops of scalar functor number `index` of its list, for the processor this runs on.
LoopSet unaryLoops(int index);
LoopSet binaryLoops(int index);
LoopSet ternaryLoops(int index);

template <class F>
LoopSet loops() {
  if constexpr (scalar::indexOf<F>(scalar::Unary{}) >= 0) return unaryLoops(scalar::indexOf<F>(scalar::Unary{}));
  else if constexpr (scalar::indexOf<F>(scalar::Binary{}) >= 0)
    return binaryLoops(scalar::indexOf<F>(scalar::Binary{}));
  else return ternaryLoops(scalar::indexOf<F>(scalar::Ternary{}));
}

/// out = loop(in...), with broadcasting, any strides, and inputs of any dtype: tiles are converted to `compute` in
/// cache.
void mapTiles(const LoopSet& loops, const double* params, DType compute, std::span<const View> in, const View& out);

/// Converts n elements of a tensor, `stride` apart, to the type that kernels compute `to` in, and back.
inline void gather(const View& from, const std::byte* at, int64_t stride, DType to, void* out, int64_t n) {
  converter(from.dtype, computeType(to))(at, stride, out, 1, n);
}
inline void scatter(const void* in, DType from, const View& to, std::byte* at, int64_t stride, int64_t n) {
  converter(from == DType::Bool ? from : computeType(from), to.dtype)(in, 1, at, stride, n);
}

/// out = in, converted.
void convertTensor(const View& in, const View& out);

/// What an elementwise op whose functor is F computes; the numbers that F is built from come of
/// `attrs.params(double*)`.
template <class F, class A>
Pointwise pointwise(const A& attrs) {
  static const LoopSet set = loops<F>();
  constexpr int unary = scalar::indexOf<F>(scalar::Unary{}), binary = scalar::indexOf<F>(scalar::Binary{}),
                ternary = scalar::indexOf<F>(scalar::Ternary{});
  Pointwise p{.loops = &set,
              .arity = unary >= 0 ? 1 : (binary >= 0 ? 2 : 3),
              .functor = unary >= 0 ? unary : (binary >= 0 ? binary : ternary)};
  if constexpr (requires { attrs.params(p.params.data()); }) attrs.params(p.params.data());
  return p;
}

/// Its kernel.
template <class F, class A>
void mapKernel(const Call<A>& call) {
  const Pointwise p = pointwise<F>(call.attrs);
  DType compute = computeType(p.loops->boolResult ? promoted(call.in) : call.out[0].dtype);
  mapTiles(*p.loops, p.params.data(), compute, call.in, call.out[0]);
}

}  // namespace anneal::cpu
