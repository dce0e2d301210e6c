// Sources of kernels that compute rows and totals of them.
#include <algorithm>
#include <numeric>
#include <sstream>

#include "generate_parts.h"
#include "totals.cuh"

namespace anneal::cuda {

TotalsKind::TotalsKind(const cpu::Chain& chain, const cpu::Totals& totals, DType result)
    : of(totals.of), reducer(totals.reducer), result(result), block(totals.width > kMostOfWarp) {
  const auto made = std::find_if(chain.instructions.begin(), chain.instructions.end(),
                                 [&](const auto& instruction) { return instruction.to == totals.of; });
  require(made != chain.instructions.end(), Code::Internal, "cuda: totals of what a chain does not compute");
  const bool mean = totals.finish == cpu::Finish::Scale;
  if (made->result == DType::Float64) value = DType::Float64;
  else value = isFloat(made->result) || mean ? DType::Float32 : DType::Int64;
}

int mostTogether(const cpu::Totals& totals, int64_t rows) {
  return rows == 1 ? kTogether : int(std::gcd(totals.width, int64_t(kTogether)));
}

namespace {

std::string reducerOf(const TotalsKind& kind) {
  const char* value = typeName(kind.value);
  if (kind.reducer == cpu::Reducer::Sum) return text("Adding<", value, "> reducer{{Finish::Scale, number}, {}}");
  return text("Extremum<", value, ", ", kind.reducer == cpu::Reducer::Max, "> reducer{}");
}

/// Of a thread: fewer of many inputs, so that registers suffice.
int runsAtOnce(const Arrangement& a) {
  const auto single = std::count(a.ways.begin(), a.ways.end(), Arrangement::Way::Single);
  const auto read = int64_t(a.ways.size()) - single;
  return read <= 1 ? kRunsAtOnce : (read <= 3 ? 2 : 1);
}

}  // namespace

std::string totalsSource(const cpu::Chain& chain, const Arrangement& a, const TotalsKind& kind) {
  std::ostringstream to;
  to << "#include \"fused_totals.cuh\"\n\n"
     << kKernelBegins << text("void __launch_bounds__(", kReduceThreads, ", 1)\nfused(");
  writeParameters(to, chain, a);
  to << "Shares shares, double number, void* result, void* states) {\n" << text("  constexpr int N = ", a.width, ";\n");
  writeConstants(to, chain, a);
  to << text("  const ", reducerOf(kind), ";\n")
     << "  const Share share(shares);\n  const int64_t row = share.result * shares.count;\n";
  writeReader(to, a);
  to << "  const auto own = [&](auto packed) {\n"
     << text("  return partOf<", runsAtOnce(a), ">(reducer, share, [&](int64_t at, int left, auto&& take) {\n")
     << "#pragma unroll\n  for (int part = 0; part < kTogether; part += N) {\n"
     << "  const int64_t begin = row + at + part;\n"
     << "  const int count = left - part < N ? left - part : N;\n  if (count <= 0) continue;\n"
     << "  const bool whole = packed.value && count == N;\n  const auto v = read(begin, count, whole);\n";
  writeElementsOf(
      to, chain, a,
      text("    if (i < count) take(part + i, cpu::convertTo<", typeName(kind.value), ">(r", kind.of, "));\n"));
  to << "  }\n  });\n  };\n"
     << text("  const auto state = mergeGroup<", kind.block,
             ">(reducer, aligned ? own(std::true_type{}) : own(std::false_type{}), share.members);\n")
     << text("  if (share.first) deliver<", typeName(kind.result),
             ">(reducer, state, share, shares.pieces, result, states);\n}\nANNEAL_KERNEL(fused)\n");
  return to.str();
}

}  // namespace anneal::cuda
