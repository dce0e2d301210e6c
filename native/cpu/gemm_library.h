#pragma once
#include "cpu/gemm.h"

namespace anneal::cpu::library {

/// Does one product (no batch) with the library of this build (oneDNN or CBLAS) if it takes the dtype and the strides;
/// false if it does not. From the stream's thread only.
bool multiply(const Gemm& g);

}  // namespace anneal::cpu::library
