// Sources of kernels that compute rows, normalise them or make a norm's gradient of them, and go on with that.
#include <algorithm>
#include <numeric>
#include <sstream>

#include "generate_parts.h"

namespace anneal::cuda {
namespace {

constexpr const char *kBefore = "Before", *kAfter = "After";  // what names of the two chains' parameters end with

void writeParameterOf(std::ostream& to, const char* name, const std::optional<DType>& dtype) {
  to << text("  const Parameter ", name);
  if (dtype) to << text("(", name, "Memory, DType(", int(*dtype), "))");
  to << ";\n";
}

void writeBegin(std::ostream& to, const NormKind& kind, const NormChains& chains) {
  to << "#include \"fused.cuh\"\n#include \"norms.cuh\"\n\n"
     << kKernelBegins
     << text("void __launch_bounds__(", kind.held == 1 ? "kWarpRows * kWarp" : "kRowThreads", ", 1)\nfused(");
  if (chains.before) writeParameters(to, chains.before->chain, chains.before->arrangement, kBefore);
  if (chains.after) writeParameters(to, chains.after->chain, chains.after->arrangement, kAfter);
  to << "const void* givenMemory, const void* xMemory, const void* weightMemory, const void* biasMemory, "
        "void* resultMemory, "
     << (kind.gradient ? "void* statistics, void* toWeight, void* toBias, " : "") << "Rows rows) {\n"
     << text("  using T = ", typeName(kind.dtype), ";\n  using C = Computed<T>;\n")
     << "  [[maybe_unused]] const auto *given = static_cast<const T*>(givenMemory), *x = static_cast<const "
        "T*>(xMemory);\n"
     << "  [[maybe_unused]] const auto result = static_cast<T*>(resultMemory);\n";
  writeParameterOf(to, "weight", kind.weight);
  if (!kind.gradient) writeParameterOf(to, "bias", kind.bias);
}

/// Gives the operands of a chain the names that its instructions use.
void writeNames(std::ostream& to, const ChainPart& part, const char* suffix) {
  for (const char* name : {"in", "out", "numbers", "axes", "aligned"})
    if (name != std::string("axes") || part.arrangement.strided)
      to << text("  [[maybe_unused]] const auto& ", name, " = ", name, suffix, ";\n");
  to << text("  constexpr int N = ", part.arrangement.width, ";\n");
  writeFunctors(to, part.chain, part.arrangement);
}

/// The chain on parts of N elements of a pack, which begins at the row's element `place`.
void writePack(std::ostream& to, const ChainPart& part, const std::string& each, const std::string& given) {
  to << "#pragma unroll\n  for (int part = 0; part < kPack<T>; part += N) {\n"
     << "  const int64_t begin = row * rows.size + place + part;\n  constexpr int count = N;\n";
  writeElementsOf(to, part.chain, part.arrangement, each, given);
  to << "  }\n";
}

/// The chain on all of a row in memory, of which `given` is what it has one input more for.
void writeRow(std::ostream& to, const ChainPart& part, const char* suffix, const std::string& given) {
  to << "  {\n";
  writeNames(to, part, suffix);
  to << "  for (int64_t column = int64_t(threadIdx.x) * N; column < rows.size; column += int64_t(blockDim.x) * N) {\n"
     << "  const int64_t begin = row * rows.size + column;\n  constexpr int count = N;\n"
     << given;
  writeElementsOf(to, part.chain, part.arrangement, "", given.empty() ? "" : "from.v[i]");
  to << "  }\n  }\n";
}

/// Functions: `come` brings the threads their packs of a row, `goOn` gets what became of one of them.
void writeEnds(std::ostream& to, const NormKind& kind, const NormChains& chains) {
  to << text("  const auto come = [&](int64_t row, Held<T, ", kind.held, ">& held) {\n");
  if (chains.before) {
    writeNames(to, *chains.before, kBefore);
    to << text("#pragma unroll\n  for (int p = 0; p < ", kind.held, "; ++p) {\n")
       << "  const int place = held.place(p);\n  if (place >= rows.size) continue;\n";
    writePack(to, *chains.before, text("    held.packs[p].v[part + i] = r", chains.of, ";\n"), "");
    to << "  }\n";
  } else {
    to << "  held.load(given + row * rows.size, int(rows.size));\n";
  }
  to << "  };\n  const auto goOn = [&](int64_t row, int place, const Pack<T, kPack<T>>& made) {\n";
  if (chains.after) {
    writeNames(to, *chains.after, kAfter);
    writePack(to, *chains.after, "", "made.v[part + i]");
  } else {
    to << "  storePack(result + row * rows.size + place, made);\n";
  }
  to << "  };\n";
}

constexpr const char* kRowOfThread = "  const int64_t row = rowNumber();\n  if (row >= rows.rows) return;\n";

void writeHeld(std::ostream& to, const NormKind& kind, const NormChains& chains) {
  writeEnds(to, kind, chains);
  if (kind.gradient) {
    to << text("  gradientOfHeld<T, ", kind.held, ">(x, weight, rows, static_cast<C*>(toWeight), ",
               "static_cast<C*>(toBias), come, goOn);\n");
    return;
  }
  to << kRowOfThread << text("  Held<T, ", kind.held, "> held;\n  come(row, held);\n")
     << "  normalizeHeld(held, weight, bias, rows,\n"
        "                [&](int place, const Pack<T, kPack<T>>& made) { goOn(row, place, made); });\n";
}

void writeLooped(std::ostream& to, const NormKind& kind, const NormChains& chains) {
  to << kRowOfThread << "  const int64_t first = row * rows.size;\n";
  if (chains.before) {
    writeRow(to, *chains.before, kBefore, "");
    to << "  syncRow();\n";
  }
  if (kind.gradient)
    to << "  gradientLooped(given + first, x + first, weight, result + first, rows, "
          "static_cast<Statistics<C>*>(statistics) + row);\n";
  else to << "  normalizeLooped(given + first, weight, bias, result + first, rows);\n";
  if (!chains.after) return;
  to << "  syncRow();\n";
  writeRow(to, *chains.after, kAfter,
           "  const auto from = load<T, N>(result, begin, count, "
           "reinterpret_cast<uintptr_t>(result) % (N * sizeof(T)) == 0);\n");
}

}  // namespace

int mostOfRows(DType dtype, int64_t width, size_t inputs) {
  constexpr size_t kManyInputs = 4;  // more than so many: fewer elements at a time, so that registers suffice
  const int64_t pack = 16 / int64_t(itemSize(dtype));
  return int(std::gcd(width, inputs > kManyInputs ? std::min<int64_t>(pack, 4) : pack));
}

std::string normSource(const NormKind& kind, const NormChains& chains) {
  std::ostringstream to;
  writeBegin(to, kind, chains);
  if (kind.held > 0) writeHeld(to, kind, chains);
  else writeLooped(to, kind, chains);
  to << "}\nANNEAL_KERNEL(fused)\n";
  return to.str();
}

}  // namespace anneal::cuda
