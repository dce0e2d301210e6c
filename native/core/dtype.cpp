#include "core/dtype.h"

#include <array>
#include <limits>
#include <type_traits>

#include "core/error.h"

namespace anneal {
namespace {

constexpr std::array<std::string_view, kDTypes> kNames = {"float32", "float64", "float16", "bfloat16", "int8",
                                                          "uint8",   "int32",   "int64",   "bool"};

}  // namespace

std::string_view name(DType dtype) { return kNames[size_t(dtype)]; }

IntegerRange integerRange(DType dtype) {
  return visitType(dtype, []<class T>(TypeTag<T>) -> IntegerRange {
    if constexpr (std::is_integral_v<T>) return {std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
    else fail(Code::Internal, "a floating-point dtype has no range of integers");
  });
}

std::ostream& operator<<(std::ostream& out, const IntegerRange& range) {
  return out << range.least << " to " << range.greatest;
}

DType promote(DType a, DType b) {
  if (a == b) return a;
  if (a == DType::Bool) return b;
  if (b == DType::Bool) return a;
  if (isFloat(a) != isFloat(b)) return isFloat(a) ? a : b;
  if (isFloat(a)) return a == DType::Float64 || b == DType::Float64 ? DType::Float64 : DType::Float32;
  return a == DType::Int64 || b == DType::Int64 ? DType::Int64 : DType::Int32;
}

}  // namespace anneal
