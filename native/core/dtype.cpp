#include "core/dtype.h"

#include <array>

#include "core/error.h"

namespace anneal {
namespace {

constexpr std::array<std::string_view, kDTypes> kNames = {"float32", "float64", "float16", "bfloat16", "int8",
                                                          "uint8",   "int32",   "int64",   "bool"};

}  // namespace

const char* codeName(Code code) {
  static constexpr std::array<const char*, 11> names = {"ERR_SHAPE",  "ERR_DTYPE",    "ERR_VALUE",   "ERR_INDEX",
                                                        "ERR_STATE",  "ERR_GRADIENT", "ERR_FORMAT",  "ERR_IO",
                                                        "ERR_MEMORY", "ERR_DEVICE",   "ERR_INTERNAL"};
  return names[size_t(code)];
}

std::string_view name(DType dtype) { return kNames[size_t(dtype)]; }

DType dtypeNamed(std::string_view wanted) {
  for (int i = 0; i < kDTypes; ++i)
    if (kNames[size_t(i)] == wanted) return DType(i);
  std::string known;
  for (auto n : kNames) known += (known.empty() ? "" : ", ") + std::string(n);
  fail(Code::DType, "unknown dtype '", wanted, "'; expected one of ", known);
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
