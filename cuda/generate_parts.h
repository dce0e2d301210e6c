#pragma once
#include <iosfwd>

#include "generate.h"

// What sources of kernels are written of: see generate.cu.
namespace anneal::cuda {

inline constexpr const char* kKernelBegins =
    "using namespace anneal;\nusing namespace anneal::cuda;\n\nextern \"C\" __global__ ";

const char* typeName(DType dtype);

/// The parameters that kernels have for a chain, whose names end with `suffix`. There is no array of nothing.
void writeParameters(std::ostream& to, const cpu::Chain& chain, const Arrangement& a, const std::string& suffix = "");
/// Makes the functors of a chain's instructions, and reads the keys of those that are random.
void writeFunctors(std::ostream& to, const cpu::Chain& chain, const Arrangement& a);
/// Computes `count` of N elements from `begin` on; `each` is said with each. Where the chain has one input more than
/// `a`, the element `i` of the first is called `given`.
void writeElementsOf(std::ostream& to, const cpu::Chain& chain, const Arrangement& a, const std::string& each = "",
                     const std::string& given = "");

}  // namespace anneal::cuda
