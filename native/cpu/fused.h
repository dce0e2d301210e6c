#pragma once
#include "cpu/elementwise.h"

namespace anneal::cpu {

/// A chain of elementwise operations over one shape, in registers of a tile each: inputs first, then results.
struct Chain {
  static constexpr size_t kMostInstructions = 24, kMostRegisters = 128;  // three inputs and a result each at most
  static constexpr int kConversion = -1, kDropout = -2;                  // not on the CPU
  struct Instruction {
    Loop loop;                                                // on the CPU
    int functor = kConversion;                                // in its list (cpu/scalar.h), or one of the above
    DType compute = DType::Float32, result = DType::Float32;  // what it computes in, and what it stores
    std::array<double, 8> params;
    int inputs;
    std::array<int, 3> from;  // registers
    int to;
  };
  DType compute = DType::Float32;  // of all registers and outputs, on the CPU
  int inputs = 0, registers = 0;
  std::vector<Instruction> instructions;
  std::vector<int> outputs;  // registers
};

/// Computes a chain tile by tile: inputs of any dtype and strides that broadcast to the outputs, which are contiguous.
void runChain(const Chain& chain, std::span<const View> in, std::span<const View> out);

}  // namespace anneal::cpu
