// Sources of kernels that compute rows and normalise them, and of those that go on with gradients of norms.
#include <algorithm>
#include <numeric>
#include <sstream>

#include "generate_parts.h"

namespace anneal::cuda {
namespace {

std::string parameterOf(const char* name, const std::optional<DType>& dtype) {
  if (!dtype) return text("  const Parameter ", name, ";\n");
  return text("  const Parameter ", name, "(", name, "Memory, DType(", int(*dtype), "));\n");
}

void writeBegin(std::ostream& to, const cpu::Chain& chain, const Arrangement& a, const NormKind& kind,
                const char* parameters) {
  to << "#include \"fused.cuh\"\n#include \"norms.cuh\"\n\n"
     << kKernelBegins
     << text("void __launch_bounds__(", kind.held == 1 ? "kWarpRows * kWarp" : "kRowThreads", ", 1)\nfused(");
  writeParameters(to, chain, a);
  to << parameters << ") {\n"
     << text("  using T = ", typeName(kind.dtype), ";\n  constexpr int N = ", a.width, ";\n")
     << parameterOf("weight", kind.weight);
  writeFunctors(to, chain);
}

constexpr const char* kEnd = "}\nANNEAL_KERNEL(fused)\n";

/// The chain on parts of N elements of a pack, which begins at the row's element `place`.
void writePack(std::ostream& to, const cpu::Chain& chain, const Arrangement& a, const std::string& each,
               const std::string& given) {
  to << "#pragma unroll\n  for (int part = 0; part < kPack<T>; part += N) {\n"
     << "  const int64_t begin = row * rows.size + place + part;\n  constexpr int count = N;\n";
  writeElementsOf(to, chain, a, each, given);
  to << "  }\n";
}

/// The chain on all of a row, of which `given` is what it has one input more for.
void writeRow(std::ostream& to, const cpu::Chain& chain, const Arrangement& a, const std::string& given) {
  to << "  for (int64_t column = int64_t(threadIdx.x) * N; column < rows.size; column += int64_t(blockDim.x) * N) {\n"
     << "  const int64_t begin = row * rows.size + column;\n  constexpr int count = N;\n"
     << given;
  writeElementsOf(to, chain, a, "", "given.v[i]");
  to << "  }\n";
}

}  // namespace

int mostOfRows(DType dtype, int64_t width, size_t inputs) {
  constexpr size_t kManyInputs = 4;  // more than so many: fewer elements at a time, so that registers suffice
  const int64_t pack = 16 / int64_t(itemSize(dtype));
  return int(std::gcd(width, inputs > kManyInputs ? std::min<int64_t>(pack, 4) : pack));
}

std::string normSource(const cpu::Chain& chain, const Arrangement& a, const NormKind& kind, int of, size_t stored) {
  std::ostringstream to;
  writeBegin(to, chain, a, kind, "const void* weightMemory, const void* biasMemory, void* result, Rows rows");
  to << parameterOf("bias", kind.bias) << "  const int64_t row = rowNumber();\n  if (row >= rows.rows) return;\n"
     << "  T* const y = static_cast<T*>(result) + row * rows.size;\n";
  if (kind.held == 0) {
    writeRow(to, chain, a, "");
    to << "  syncRow();\n"
       << text("  const T* x = static_cast<const T*>(out.memory[", stored, "]) + row * rows.size;\n")
       << "  normalizeLooped(x, weight, bias, y, rows);\n"
       << kEnd;
    return to.str();
  }
  to << text("  Held<T, ", kind.held, "> held;\n")
     << text("#pragma unroll\n  for (int p = 0; p < ", kind.held, "; ++p) {\n")
     << "  const int place = held.place(p);\n  if (place >= rows.size) continue;\n";
  writePack(to, chain, a, text("    held.packs[p].v[part + i] = r", of, ";\n"), "");
  to << "  }\n  normalizeHeld(held, weight, bias, y, rows);\n" << kEnd;
  return to.str();
}

std::string normGradientSource(const cpu::Chain& chain, const Arrangement& a, const NormKind& kind) {
  std::ostringstream to;
  writeBegin(to, chain, a, kind,
             "const void* gradMemory, const void* xMemory, const void* weightMemory, void* dxMemory, void* statistics, "
             "void* toWeight, void* toBias, Rows rows");
  to << "  using C = Computed<T>;\n"
     << "  const T *grad = static_cast<const T*>(gradMemory), *x = static_cast<const T*>(xMemory);\n";
  if (kind.held > 0) {
    to << text("  gradientOfHeld<T, ", kind.held, ">(grad, x, weight, rows, static_cast<C*>(toWeight), ")
       << "static_cast<C*>(toBias),\n      [&](int64_t row, int place, const Pack<T, kPack<T>>& given) {\n";
    writePack(to, chain, a, "", "given.v[part + i]");
    to << "  });\n" << kEnd;
    return to.str();
  }
  to << "  const int64_t row = rowNumber(), from = row * rows.size;\n  if (row >= rows.rows) return;\n"
     << "  T* const dx = static_cast<T*>(dxMemory);\n"
     << "  gradientLooped(grad + from, x + from, weight, dx + from, rows, static_cast<Statistics<C>*>(statistics) + "
        "row);\n  syncRow();\n";
  writeRow(to, chain, a,
           text("  const auto given = load<T, N>(dx, begin, count, aligned >> ", a.ways.size(), " & 1);\n"));
  to << kEnd;
  return to.str();
}

}  // namespace anneal::cuda
