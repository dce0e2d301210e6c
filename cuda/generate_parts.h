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
/// Gives parameters whose names end with `suffix` the names without it, and N its number.
void writeNames(std::ostream& to, const Arrangement& a, const std::string& suffix);
/// What is the same for all elements: inputs of one value, functors, and the keys of those that are random.
void writeConstants(std::ostream& to, const cpu::Chain& chain, const Arrangement& a);
/// Makes the function read(begin, count, whole), whose name ends with `suffix`: what `count` of N elements from `begin`
/// on need of the other inputs. `whole`: all N of them, in packs where that goes. Only a number that is known when the
/// kernel is compiled lets loads of several calls be under way together.
void writeReader(std::ostream& to, const Arrangement& a, const std::string& suffix = "");
/// Computes `count` of N elements from `begin` on, of which `v` was read, and stores them, with `whole` in packs;
/// `each` is said with each. Where the chain has one input more than `a`, the element `i` of the first is called
/// `given`.
void writeElementsOf(std::ostream& to, const cpu::Chain& chain, const Arrangement& a, const std::string& each = "",
                     const std::string& given = "");

}  // namespace anneal::cuda
