#include "generate.h"

#include <algorithm>
#include <sstream>

#include "elements.h"
#include "functor_names.h"
#include "generate_parts.h"
#include "op/nest.h"

namespace anneal::cuda {
namespace {

using Way = Arrangement::Way;

constexpr int kMostInputs = 15;
constexpr size_t kManyInputs = 6;  // more than so many: fewer elements for each thread, so that registers suffice

/// The largest number of elements that one access of `bytes` moves of each of the operands.
int widthOf(std::span<const View> in, std::span<const View> out, int bytes) {
  size_t widest = 1;
  for (const View& v : in)
    if (v.size() != 1) widest = std::max(widest, itemSize(v.dtype));
  for (const View& v : out) widest = std::max(widest, itemSize(v.dtype));
  const int width = bytes / int(widest);
  return in.size() > kManyInputs ? std::min(width, in.size() > kManyInputs + 2 ? 2 : 4) : width;
}

uint32_t bitsOf(int64_t stride) { return uint32_t(int32_t(stride)); }

}  // namespace

const char* typeName(DType dtype) {
  static constexpr const char* names[] = {"float",   "double",  "Half",    "BFloat16", "int8_t",
                                          "uint8_t", "int32_t", "int64_t", "bool"};
  return names[size_t(dtype)];
}

Arrangement::Arrangement(std::span<const View> in, std::span<const View> out, const View& whole, int most)
    : width(std::min(most, widthOf(in, out, kWide))) {
  std::vector<View> others;
  for (const View& v : in) {
    inputs.push_back(v.dtype);
    const bool run = v.shape == whole.shape && v.contiguous();
    ways.push_back(v.size() == 1 ? Way::Single : (run ? Way::Run : Way::Any));
    if (ways.back() == Way::Any) others.push_back(v);
  }
  for (const View& v : out) outputs.push_back(v.dtype);
  for (size_t k = 0; k < in.size(); ++k)
    if (ways[k] == Way::Run) aligned |= 1u << k;
  if (others.empty()) return;
  require(others.size() <= kMostInputs, Code::Internal, "cuda: a chain of ", others.size(), " strided inputs");
  const NestOf<kMostInputs + 1> nest(others, whole);
  rank = nest.shape.rank();
  strided = int(others.size());
  const int last = rank - 1;
  for (int axis = last; axis >= 0; --axis) {
    const Divider size{uint32_t(nest.shape[axis])};
    axes.insert(axes.end(), {size.divisor, size.magic, size.shift});
  }
  for (int axis = last; axis >= 0; --axis)
    for (int k = 0; k < strided; ++k) axes.push_back(bitsOf(nest.strides[size_t(k)][axis]));
  if (nest.shape[last] % width != 0) return;
  for (size_t k = 0, s = 0; k < in.size(); ++k) {
    if (ways[k] != Way::Any) continue;
    const Strides& strides = nest.strides[s++];
    if (strides[last] == 0) ways[k] = Way::Repeated;
    if (strides[last] != 1) continue;
    ways[k] = Way::Row;
    if (std::all_of(strides.begin(), strides.end() - 1, [&](int64_t step) { return step % width == 0; }))
      aligned |= 1u << k;
  }
}

namespace {

/// What an input's element `i` is called in the loop over a thread's elements.
std::string inputName(const Arrangement& a, int k) {
  switch (a.ways[size_t(k)]) {
    case Way::Single: return text("in", k);
    case Way::Repeated: return text("v.in", k);
    default: return text("v.in", k, ".v[i]");
  }
}

/// Which of the strided inputs each is; -1: none.
std::vector<int> stridedNumbers(const Arrangement& a) {
  std::vector<int> out;
  int next = 0;
  for (const Way way : a.ways) out.push_back(way == Way::Single || way == Way::Run ? -1 : next++);
  return out;
}

/// `v`, which holds what a thread reads of the inputs.
void writeRead(std::ostream& to, const Arrangement& a) {
  to << "    struct Read {\n";
  for (size_t k = 0; k < a.ways.size(); ++k) {
    const char* type = typeName(a.inputs[k]);
    if (a.ways[k] == Way::Repeated) to << text("      ", type, " in", k, ";\n");
    else if (a.ways[k] != Way::Single) to << text("      Pack<", type, ", N> in", k, ";\n");
  }
  to << "    } v;\n";
}

/// Reads of inputs in runs; `whole`: in packs, all that can be.
void writeRuns(std::ostream& to, const Arrangement& a, const std::vector<int>& number, bool whole) {
  for (size_t k = 0; k < a.ways.size(); ++k) {
    if (a.ways[k] != Way::Run && a.ways[k] != Way::Row) continue;
    const bool packed = whole && (a.aligned >> k & 1);
    to << text("      v.in", k, " = load", packed ? "Pack" : "Some", "<", typeName(a.inputs[k]), ", N>(in.memory[", k,
               "], ", a.ways[k] == Way::Run ? "begin" : text("at[", number[k], "]"), packed ? "" : ", count", ");\n");
  }
}

/// Reads of inputs that are strided in another way.
void writeOthers(std::ostream& to, const Arrangement& a, const std::vector<int>& number) {
  for (size_t k = 0; k < a.ways.size(); ++k)
    if (a.ways[k] == Way::Repeated)
      to << text("    v.in", k, " = element<", typeName(a.inputs[k]), ">(in.memory[", k, "], at[", number[k], "]);\n");
  if (std::find(a.ways.begin(), a.ways.end(), Way::Any) == a.ways.end()) return;
  to << "#pragma unroll\n    for (int i = 0; i < N; ++i) {\n"
     << "      axes.place(uint32_t(begin + (i < count ? i : 0)), at);\n";
  for (size_t k = 0; k < a.ways.size(); ++k)
    if (a.ways[k] == Way::Any)
      to << text("      v.in", k, ".v[i] = element<", typeName(a.inputs[k]), ">(in.memory[", k, "], at[", number[k],
                 "]);\n");
  to << "    }\n";
}

/// The register of the first input that is in memory: a chain may have one input more than `a`.
int firstOf(const cpu::Chain& chain, const Arrangement& a) { return chain.inputs - int(a.ways.size()); }

/// What a register's element `i` is called. Where a chain has one input more than `a`, the first is `given`.
std::string registerName(const cpu::Chain& chain, const Arrangement& a, const std::string& given, int r) {
  const int first = firstOf(chain, a);
  if (r >= chain.inputs) return text("r", r);
  return r < first ? given : inputName(a, r - first);
}

void writeInstructions(std::ostream& to, const cpu::Chain& chain, const Arrangement& a, const std::string& given) {
  const auto name = [&](int r) { return registerName(chain, a, given, r); };
  for (size_t j = 0; j < chain.instructions.size(); ++j) {
    const auto& instruction = chain.instructions[j];
    to << "    const " << typeName(instruction.result) << " r" << instruction.to << " = ";
    if (instruction.functor == cpu::Chain::kConversion) {
      to << text("cpu::convertTo<", typeName(instruction.result), ">(", name(instruction.from[0]), ");\n");
      continue;
    }
    if (instruction.functor == cpu::Chain::kDropout) {
      to << text("f", j, "(words", j, "[i], ", name(instruction.from[0]), ");\n");
      continue;
    }
    to << text("compute<", typeName(instruction.result), ", ", typeName(instruction.compute), ">(f", j);
    for (int k = 0; k < instruction.inputs; ++k) to << ", " << name(instruction.from[size_t(k)]);
    to << ");\n";
  }
}

/// Random words for all that a thread computes: neighbours share blocks of them.
void writeWords(std::ostream& to, const cpu::Chain& chain) {
  for (size_t j = 0; j < chain.instructions.size(); ++j)
    if (chain.instructions[j].functor == cpu::Chain::kDropout)
      to << text("  Words<N> words", j, ";\n  words", j, ".draw(sequence", j, ", begin, 0);\n");
}

/// Whether its functor is made of its numbers.
bool hasNumbers(const cpu::Chain::Instruction& i) {
  return i.functor == cpu::Chain::kDropout || (i.functor >= 0 && functorName(i.inputs, i.functor).numbers);
}

}  // namespace

void writeConstants(std::ostream& to, const cpu::Chain& chain, const Arrangement& a) {
  for (size_t k = 0; k < a.ways.size(); ++k)
    if (a.ways[k] == Way::Single)
      to << text("  const auto in", k, " = single<", typeName(a.inputs[k]), ">(in.memory[", k, "], in.value[", k,
                 "]);\n");
  size_t numbers = 0;
  for (size_t j = 0; j < chain.instructions.size(); ++j) {
    const auto& instruction = chain.instructions[j];
    const std::string from = text("numbers.v + ", hasNumbers(instruction) ? numbers : 0);
    if (instruction.functor >= 0) {
      const FunctorName& f = functorName(instruction.inputs, instruction.functor);
      to << text("  const auto f", j, " = make<scalar::", f.name, ">(", from, ");\n");
    } else if (instruction.functor == cpu::Chain::kDropout) {
      to << text("  const auto f", j, " = make<Keep<", typeName(instruction.compute), ">>(", from, ");\n")
         << text("  const Sequence sequence", j, " = sequenceAt(in.memory[", instruction.from[1] - firstOf(chain, a),
                 "]);\n");
    }
    if (hasNumbers(instruction)) numbers += 8;
  }
}

void writeNames(std::ostream& to, const Arrangement& a, const std::string& suffix) {
  for (const char* name : {"in", "out", "numbers", "axes", "aligned"})
    if (name != std::string("axes") || a.strided)
      to << text("  [[maybe_unused]] const auto& ", name, " = ", name, suffix, ";\n");
  to << text("  constexpr int N = ", a.width, ";\n");
}

void writeParameters(std::ostream& to, const cpu::Chain& chain, const Arrangement& a, const std::string& suffix) {
  to << text("Sources<", std::max<size_t>(1, a.ways.size()), "> in", suffix, ", Targets<",
             std::max<size_t>(1, a.outputs.size()), "> out", suffix, ", Numbers<",
             std::max<size_t>(1, numbersOf(chain).size()), "> numbers", suffix, ", ");
  if (a.strided) to << text("Axes<", a.rank, ", ", a.strided, "> axes", suffix, ", ");
  to << text("bool aligned", suffix, ", ");
}

void writeReader(std::ostream& to, const Arrangement& a, const std::string& suffix) {
  const std::vector<int> number = stridedNumbers(a);
  to << text("  [[maybe_unused]] const auto read", suffix, " = [&](int64_t begin, int count, bool whole) {\n");
  if (!suffix.empty()) writeNames(to, a, suffix);
  writeRead(to, a);
  if (a.strided) to << "    int32_t at[" << a.strided << "];\n    axes.place(uint32_t(begin), at);\n";
  to << "    if (whole) {\n";
  writeRuns(to, a, number, true);
  to << "    } else {\n";
  writeRuns(to, a, number, false);
  to << "    }\n";
  writeOthers(to, a, number);
  to << "    return v;\n  };\n";
}

void writeElementsOf(std::ostream& to, const cpu::Chain& chain, const Arrangement& a, const std::string& each,
                     const std::string& given) {
  const size_t outputs = a.outputs.size();
  writeWords(to, chain);
  for (size_t k = 0; k < outputs; ++k) to << text("  Pack<", typeName(a.outputs[k]), ", N> out", k, ";\n");
  to << "#pragma unroll\n  for (int i = 0; i < N; ++i) {\n";
  writeInstructions(to, chain, a, given);
  for (size_t k = 0; k < outputs; ++k)
    to << text("    out", k, ".v[i] = ", registerName(chain, a, given, chain.outputs[k]), ";\n");
  to << each << "  }\n";
  for (size_t k = 0; k < outputs; ++k) to << text("  store(out.memory[", k, "], begin, count, whole, out", k, ");\n");
}

std::string elementwiseSource(const cpu::Chain& chain, const Arrangement& a) {
  std::ostringstream to;
  to << "#include \"fused.cuh\"\n\n" << kKernelBegins << text("void __launch_bounds__(", kFusedThreads, ")\nfused(");
  writeParameters(to, chain, a);
  to << "int64_t n) {\n"
     << text("  constexpr int N = ", a.width, ";\n")
     << "  const int64_t begin = threadNumber() * N;\n  if (begin >= n) return;\n"
     << "  const int count = n - begin < N ? int(n - begin) : N;\n  const bool whole = aligned && count == N;\n";
  writeConstants(to, chain, a);
  writeReader(to, a);
  to << "  const auto v = whole ? read(begin, N, true) : read(begin, count, false);\n";
  writeElementsOf(to, chain, a);
  to << "}\nANNEAL_KERNEL(fused)\n";
  return to.str();
}

std::vector<double> numbersOf(const cpu::Chain& chain) {
  std::vector<double> out;
  for (const auto& instruction : chain.instructions)
    if (hasNumbers(instruction)) out.insert(out.end(), instruction.params.begin(), instruction.params.end());
  return out;
}

}  // namespace anneal::cuda
