#pragma once
#include <optional>
#include <string>
#include <vector>

#include "cpu/fused_totals.h"

namespace anneal::cuda {

/// How a kernel for a chain moves its operands, from their shapes, strides and dtypes alone.
struct Arrangement {
  enum class Way : uint8_t {
    Single,    // one value for all elements
    Run,       // in the order of the elements
    Row,       // strided, but in runs along the innermost axis: whole packs of them
    Repeated,  // strided, with one value for whole packs
    Any,       // element by element
  };
  int width = 1;  // elements that a thread computes: what 16 bytes hold of the widest operand
  std::vector<Way> ways;
  std::vector<DType> inputs, outputs;
  uint32_t aligned = 0;  // bits of the inputs that are read in packs wherever these lie, as outputs are stored, if all
                         // of their memory is aligned
  std::vector<uint32_t> axes;  // the argument of type Axes: sizes as dividers, then strides
  int rank = 0, strided = 0;   // of it: axes, and inputs that are neither runs nor single

  /// The chain computes as many elements as `whole` has, in its shape. Threads take at most `most` elements.
  Arrangement(std::span<const View> in, std::span<const View> out, const View& whole, int most = kWide);
  Arrangement(std::span<const View> in, std::span<const View> out) : Arrangement(in, out, out[0]) {}

 private:
  static constexpr int kWide = 16;  // bytes of an access
};

/// The source of the kernel `fused` that computes a chain.
std::string elementwiseSource(const cpu::Chain& chain, const Arrangement& a);

/// What a kernel is to make of a chain's result, but for sizes.
struct TotalsKind {
  int of = 0;                                // the register
  cpu::Reducer reducer = cpu::Reducer::Sum;  // Sum, Max or Min
  DType value, result;                       // what it is computed in (see Accumulated), and what is stored
  bool block = false;                        // whether blocks or warps have rows: see Shares

  TotalsKind(const cpu::Chain& chain, const cpu::Totals& totals, DType result);
};

/// The most elements that a thread may take at a time of `rows` of the totals' width.
int mostTogether(const cpu::Totals& totals, int64_t rows);

/// The source of the kernel `fused` that computes a chain, and totals of the rows of one of its results.
std::string totalsSource(const cpu::Chain& chain, const Arrangement& a, const TotalsKind& kind);

/// Norms of rows, or their gradients, as kernels make them, but for sizes.
struct NormKind {
  DType dtype;                        // of the rows
  bool gradient = false;              // of a norm
  int held = 0;                       // packs that a thread holds of a row; 0: rows are looped over
  std::optional<DType> weight, bias;  // none: there is none
};

/// A chain with how its operands are moved.
struct ChainPart {
  const cpu::Chain& chain;
  const Arrangement& arrangement;
};

/// What is computed around a norm, or its gradient.
struct NormChains {
  const ChainPart* before = nullptr;  // computes what it gets, in the register `of`
  int of = 0;
  const ChainPart* after = nullptr;  // goes on with what it gives, its register 0
};

/// The most elements that a thread may take at a time of rows of that width, for a chain of so many inputs.
int mostOfRows(DType dtype, int64_t width, size_t inputs);

/// The source of the kernel `fused` that computes rows, a norm or its gradient of them, and what goes on with that.
/// Where rows are looped over, what is between these lies in memory.
std::string normSource(const NormKind& kind, const NormChains& chains);

/// The numbers that its functors are made of, in the order of the instructions.
std::vector<double> numbersOf(const cpu::Chain& chain);

constexpr int kFusedThreads = 256;

}  // namespace anneal::cuda
