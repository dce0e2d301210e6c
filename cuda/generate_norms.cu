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
  to << "#include \"fused_norms.cuh\"\n\n"
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

/// The chain on parts of N elements of a pack of a row that the threads hold. What it needs of other inputs was read
/// into `from`[part], or is read now.
void writePack(std::ostream& to, const ChainPart& part, const std::string& suffix, const std::string& from,
               const std::string& each, const std::string& given) {
  to << "#pragma unroll\n  for (int part = 0; part < kPack<T>; part += N) {\n"
     << "  const int64_t begin = row * rows.size + place + part;\n  constexpr int count = N;\n"
     << "  const bool whole = aligned;\n  const auto v = ";
  if (from.empty()) to << text("whole ? read", suffix, "(begin, N, true) : read", suffix, "(begin, N, false);\n");
  else to << from << "[part / N];\n";
  writeElementsOf(to, part.chain, part.arrangement, each, given);
  to << "  }\n";
}

/// The chain on all of a row in memory, of which `given` is what it has one input more for.
void writeRow(std::ostream& to, const ChainPart& part, const std::string& suffix, const std::string& given) {
  to << "  {\n";
  writeNames(to, part.arrangement, suffix);
  writeConstants(to, part.chain, part.arrangement);
  to << "  const bool whole = aligned;\n"
     << "  for (int64_t column = int64_t(threadIdx.x) * N; column < rows.size; column += int64_t(blockDim.x) * N) {\n"
     << "  const int64_t begin = row * rows.size + column;\n  constexpr int count = N;\n"
     << text("  const auto v = whole ? read", suffix, "(begin, N, true) : read", suffix, "(begin, N, false);\n")
     << given;
  writeElementsOf(to, part.chain, part.arrangement, "", given.empty() ? "" : "from.v[i]");
  to << "  }\n  }\n";
}

/// The bytes that a thread reads for its packs of a row.
size_t bytesOf(const NormKind& kind, const Arrangement& a) {
  size_t bytes = 0;
  for (size_t k = 0; k < a.ways.size(); ++k)
    if (a.ways[k] != Arrangement::Way::Single) bytes += itemSize(a.inputs[k]);
  return bytes * size_t(kind.held) * (16 / itemSize(kind.dtype));
}

void writeReads(std::ostream& to, const ChainPart& part, const std::string& suffix, const std::string& into) {
  to << text("  readHeld<T, ", part.arrangement.width, ">(row, rows.size, aligned", suffix, ", read", suffix, ", ",
             into, ");\n");
}

std::string declaration(const NormKind& kind, const ChainPart& part, const std::string& suffix,
                        const std::string& name) {
  return text("  decltype(read", suffix, "(0, 0, true)) ", name, "[", kind.held, "][kPack<T> / ",
              part.arrangement.width, "];\n");
}

/// Functions: `come` brings the threads their packs of a row, `goOn` gets what became of one of them. What either reads
/// is read at the beginning, so that all of it is under way together, unless that takes too many registers.
void writeEnds(std::ostream& to, const NormKind& kind, const NormChains& chains) {
  // Bytes; sums of the gradients of two packs of 16-bit floats leave few registers.
  const bool full = kind.gradient && kind.held > 1 && itemSize(kind.dtype) == 2;
  const size_t most = full ? 32 : (kind.gradient ? 128 : 192), mostAfter = full ? 0 : 128;
  const bool together = chains.before && !(full && chains.after) && bytesOf(kind, chains.before->arrangement) <= most;
  const bool early = chains.after && bytesOf(kind, chains.after->arrangement) <= mostAfter;
  if (early) to << declaration(kind, *chains.after, kAfter, "after");
  to << text("  const auto come = [&](int64_t row, Held<T, ", kind.held, ">& held) {\n");
  if (together) to << declaration(kind, *chains.before, kBefore, "before");
  if (together) writeReads(to, *chains.before, kBefore, "before");
  if (early) writeReads(to, *chains.after, kAfter, "after");
  if (chains.before) {
    writeNames(to, chains.before->arrangement, kBefore);
    writeConstants(to, chains.before->chain, chains.before->arrangement);
    to << text("#pragma unroll\n  for (int p = 0; p < ", kind.held, "; ++p) {\n")
       << "  const int place = held.place(p);\n  if (place >= rows.size) continue;\n";
    writePack(to, *chains.before, kBefore, together ? "before[p]" : "",
              text("    held.packs[p].v[part + i] = r", chains.of, ";\n"), "");
    to << "  }\n";
  } else {
    to << "  held.load(given + row * rows.size, int(rows.size));\n";
  }
  to << "  };\n  const auto goOn = [&](int64_t row, [[maybe_unused]] int p, int place, const Pack<T, kPack<T>>& made) "
        "{\n";
  if (chains.after) {
    writeNames(to, chains.after->arrangement, kAfter);
    writeConstants(to, chains.after->chain, chains.after->arrangement);
    writePack(to, *chains.after, kAfter, early ? "after[p]" : "", "", "made.v[part + i]");
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
        "                [&](int p, int place, const Pack<T, kPack<T>>& made) { goOn(row, p, place, made); });\n";
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
           "  const auto from = reinterpret_cast<uintptr_t>(result) % (N * sizeof(T)) == 0 ? "
           "loadPack<T, N>(result, begin) : loadSome<T, N>(result, begin, N);\n");
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
  if (chains.before) writeReader(to, chains.before->arrangement, kBefore);
  if (chains.after) writeReader(to, chains.after->arrangement, kAfter);
  if (kind.held > 0) writeHeld(to, kind, chains);
  else writeLooped(to, kind, chains);
  to << "}\nANNEAL_KERNEL(fused)\n";
  return to.str();
}

}  // namespace anneal::cuda
