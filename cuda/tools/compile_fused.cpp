// Compiles kernels for joined operations by NVRTC, without a GPU: every functor in every dtype, every way of moving
// operands, totals, norms and their gradients. Fails where one does not compile or spills registers. Arguments: compute
// capabilities, such as 80 90, and a folder to write what was compiled into, if that is wanted.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <optional>
#include <regex>
#include <thread>

#include "compiler.h"
#include "core/error.h"
#include "functor_names.h"
#include "generate.h"
#include "graph/passes/norms.h"

namespace anneal::cuda {
namespace {

constexpr int kMissing = 77;     // exit status: there is no NVRTC
constexpr size_t kFunctors = 8;  // in a kernel
constexpr DType kAll[] = {DType::Float32, DType::Float64, DType::Float16, DType::BFloat16, DType::Int8,
                          DType::UInt8,   DType::Int32,   DType::Int64,   DType::Bool};

struct Case {
  std::string name, source;
};

View viewOf(DType dtype, const Shape& shape) {
  View v;
  v.dtype = dtype;
  v.shape = shape;
  v.strides = contiguousStrides(shape);
  return v;
}

/// A chain that gives each result to the next functor, with inputs of its own for further operands.
struct Builder {
  cpu::Chain chain;
  std::vector<View> in;
  std::string name;
  explicit Builder(std::vector<View> inputs) : in(std::move(inputs)) {
    chain.inputs = chain.registers = int(in.size());
  }
  void add(int arity, int functor, DType result, int last) {
    cpu::Chain::Instruction next{.loop = nullptr,
                                 .functor = functor,
                                 .compute = computeType(result),
                                 .result = result,
                                 .params = {0.5, 2},
                                 .inputs = arity,
                                 .from = {last, 1 % chain.inputs, 2 % chain.inputs},
                                 .to = chain.registers++};
    chain.instructions.push_back(next);
    if (functor != cpu::Chain::kConversion)
      name += ' ' + (functor == cpu::Chain::kDropout ? "Dropout" : functorName(arity, functor).name);
  }
  Case finish(const std::string& title, std::vector<View> out) {
    chain.outputs.clear();
    for (size_t k = 0; k < out.size(); ++k) chain.outputs.push_back(chain.registers - 1 - int(k));
    return {title + ':' + name, elementwiseSource(chain, Arrangement(in, out))};
  }
};

int functorCalled(const std::string& name) {
  for (int f = 0; f < functorsOf(2); ++f)
    if (functorName(2, f).name == name) return f;
  fail(Code::Internal, "no functor is called ", name);
}

bool takes(const FunctorName& f, DType dtype) { return isFloat(dtype) ? !f.integers : !f.floats; }

/// Totals of a chain's result, of which the last register is: all that they may be of a dtype.
void addTotals(std::vector<Case>& cases, const Builder& builder, const std::string& title, const View& whole,
               const std::vector<View>& out) {
  for (const auto reducer : {cpu::Reducer::Sum, cpu::Reducer::Max}) {
    for (const int64_t width : {int64_t(64), int64_t(16384)}) {
      cpu::Chain chain = builder.chain;
      chain.outputs.clear();
      for (size_t k = 0; k < out.size(); ++k) chain.outputs.push_back(chain.registers - 2 - int(k));
      const bool mean = reducer == cpu::Reducer::Sum;
      const cpu::Totals totals{.of = chain.registers - 1,
                               .reducer = reducer,
                               .finish = mean ? cpu::Finish::Scale : cpu::Finish::None,
                               .number = 0.5,
                               .width = width};
      const Arrangement arrangement(builder.in, out, whole, mostTogether(totals, whole.shape.product() / width));
      const TotalsKind kind(chain, totals, chain.instructions.back().result);
      cases.push_back({text(mean ? "means of " : "maxima of ", width, ": ", title, builder.name),
                       totalsSource(chain, arrangement, kind)});
    }
  }
}

/// Norms and their gradients, of rows that threads hold and of rows that are looped over: of the last register, which
/// is among the outputs; with the chain going on from what would be its first input; and with it on both sides.
void addNorms(std::vector<Case>& cases, const Builder& builder, const std::string& title,
              const std::vector<View>& out) {
  const View& whole = out[0];
  const DType dtype = whole.dtype;
  const bool held = dtype != DType::Float64 && whole.shape.back() % (16 / int64_t(itemSize(dtype))) == 0;
  cpu::Chain chain = builder.chain;
  chain.outputs.clear();
  for (size_t k = 0; k < out.size(); ++k) chain.outputs.push_back(chain.registers - 1 - int(k));
  const std::span<const View> in(builder.in), others = in.subspan(1);
  for (const bool gradient : {false, true}) {
    for (const int packs : held ? std::vector<int>{0, 1, gradient ? 2 : 4} : std::vector<int>{0}) {
      const NormKind kind{.dtype = dtype, .gradient = gradient, .held = packs, .weight = dtype, .bias = DType::Float32};
      const auto add = [&](bool before, bool after) {
        const size_t inputs = (before ? in.size() : 0) + (after ? others.size() : 0);
        if (inputs > passes::kMostNormInputs || (gradient && before && in.size() > passes::kMostGradientInputs)) return;
        const int most = mostOfRows(dtype, whole.shape.back(), inputs);
        const Arrangement first(in, out, whole, most), second(others, out, whole, most);
        const ChainPart parts[] = {{chain, first}, {chain, second}};
        const NormChains chains{before ? &parts[0] : nullptr, chain.outputs[0], after ? &parts[1] : nullptr};
        const char* what = gradient ? "gradients of norms" : "norms";
        cases.push_back({text(what, " in ", packs, " packs, ", before, after, ": ", title, builder.name),
                         normSource(kind, chains)});
      };
      add(true, false);
      add(false, true);
      add(true, true);
    }
  }
}

/// Norms of what is most often there: a sum with a bias and a mask; and of a long chain.
void addNormsOf(std::vector<Case>& cases, DType dtype) {
  const Shape shape{64, 768};
  View row = viewOf(dtype, shape), number = viewOf(dtype, {});
  row.strides = {0, 1};
  const View x = viewOf(dtype, shape);
  Builder residual({x, row, x, number, x});
  for (int k = 1; k < 5; ++k) {
    residual.add(2, k % 2 ? functorCalled("Add") : functorCalled("Mul"), dtype,
                 k == 1 ? 0 : residual.chain.registers - 1);
    residual.chain.instructions.back().from[1] = k;
  }
  addNorms(cases, residual, text("residual of ", dtype), {x});
  Builder longer({x, x});
  for (size_t k = 0; k < cpu::Chain::kMostInstructions; ++k)
    longer.add(2, int(k) % 3, dtype, k == 0 ? 0 : longer.chain.registers - 1);
  addNorms(cases, longer, text("long chain of ", dtype), {x});
}

/// Every functor that takes the dtype, some at a time.
void addFunctors(std::vector<Case>& cases, DType dtype) {
  const Shape shape{1000};
  const View x = viewOf(dtype, shape);
  for (int arity = 1; arity <= 3; ++arity) {
    std::optional<Builder> open;
    for (int f = 0; f <= functorsOf(arity); ++f) {
      const bool end = f == functorsOf(arity);
      if (open && (end || open->chain.instructions.size() == kFunctors)) {
        cases.push_back(open->finish(text(dtype), {x}));
        open.reset();
      }
      if (end || !takes(functorName(arity, f), dtype)) continue;
      if (!open) open.emplace(std::vector<View>(size_t(arity), x));
      open->add(arity, f, dtype, open->chain.registers == open->chain.inputs ? 0 : open->chain.registers - 1);
    }
  }
}

/// Many inputs of all kinds, and several outputs: as many as a group may have.
void addLayouts(std::vector<Case>& cases, DType a, DType b) {
  const Shape shape{64, 32, 16};
  const auto strided = [&](DType dtype, Strides strides) {
    View v = viewOf(dtype, shape);
    v.strides = strides;
    return v;
  };
  const std::vector<View> kinds = {viewOf(a, shape),          strided(b, {0, 0, 1}), strided(a, {32, 1, 0}),
                                   strided(b, {1, 64, 2048}), viewOf(b, {}),         viewOf(b, shape)};
  for (size_t most : {size_t(6), size_t(12)}) {
    std::vector<View> in;
    for (size_t k = 0; k < most; ++k) in.push_back(kinds[k % kinds.size()]);
    Builder builder(in);
    for (int k = 1; k < int(most); ++k) {
      builder.add(2, k % 3, k % 2 ? a : b, k == 1 ? 0 : builder.chain.registers - 1);
      builder.chain.instructions.back().from[1] = k;
    }
    std::vector<View> out;
    for (size_t k = 0; k < 4; ++k)
      out.push_back(viewOf(builder.chain.instructions[builder.chain.instructions.size() - 1 - k].result, shape));
    const std::string title = text(most, " inputs of ", a, " and ", b);
    cases.push_back(builder.finish(title, out));
    addTotals(cases, builder, title, viewOf(a, shape), {out.begin() + 1, out.begin() + (most == 6 ? 1 : 4)});
    if (isFloat(out[0].dtype) && most <= passes::kMostNormInputs) addNorms(cases, builder, title, out);
  }
}

/// Dropout of one dtype before a residual of another is added, and once more after it: of whole blocks of words and, in
/// odd rows, of parts of them. The key is the second input, as the functors' second operand.
void addDropouts(std::vector<Case>& cases, DType a, DType b) {
  for (const int64_t width : {int64_t(768), int64_t(7)}) {
    const Shape shape{64, width};
    const View x = viewOf(b, shape);
    Builder builder({viewOf(a, shape), viewOf(DType::Int64, {}), x});
    builder.add(1, cpu::Chain::kConversion, a, 0);
    builder.add(2, cpu::Chain::kDropout, a, 3);
    builder.add(2, functorCalled("Add"), b, 4);
    builder.chain.instructions.back().from[1] = 2;
    builder.add(2, cpu::Chain::kDropout, b, 5);
    const std::string title = text("rows of ", width, " of ", a, " and ", b);
    cases.push_back(builder.finish(title, {x}));
    addTotals(cases, builder, title, x, {});
    addNorms(cases, builder, title, {x});
  }
}

std::vector<Case> allCases() {
  std::vector<Case> out;
  for (DType d : kAll) addFunctors(out, d);
  for (DType d : {DType::Float32, DType::Float64, DType::Float16, DType::BFloat16}) {
    addNormsOf(out, d);
    addDropouts(out, d, d);
  }
  addDropouts(out, DType::BFloat16, DType::Float32);
  for (DType d : kAll) {
    addLayouts(out, d, DType::Float32);
    addLayouts(out, DType::BFloat16, d);
  }
  return out;
}

void save(const std::string& folder, const Case& c, int capability, const std::string& code) {
  const std::string name = std::regex_replace(c.name, std::regex("[^A-Za-z0-9]+"), "_");
  std::ofstream(text(folder, "/", name.substr(0, 150), ".", capability, ".cubin"), std::ios::binary) << code;
}

/// What is wrong; empty: nothing.
std::string problemOf(const Case& c, int capability, const std::string& folder, int& registers) {
  std::string log;
  try {
    const std::string code = nvrtc().compile(c.source, capability, &log);
    if (!folder.empty()) save(folder, c, capability, code);
  } catch (const Error& e) {
    return std::string(e.what()) + "\n" + c.source;
  }
  std::smatch found;
  if (std::regex_search(log, found, std::regex("Used ([0-9]+) registers"))) registers = std::stoi(found[1]);
  else return "NVRTC does not say how many registers it uses: " + log;
  if (std::regex_search(log, found, std::regex("([1-9][0-9]*) bytes spill")))
    return "spills " + found[1].str() + " bytes: " + log;
  return "";
}

/// Whether the product of an operation becomes one instruction with the sum of the next.
bool contracts() {
  constexpr int kLater = 10000;  // a capability for which there is PTX only, which can be read
  const View x = viewOf(DType::Float32, Shape{1000});
  Builder builder({x, x});
  builder.add(2, functorCalled("Mul"), DType::Float32, 0);
  builder.add(2, functorCalled("Add"), DType::Float32, 2);
  const std::string code = nvrtc().compile(builder.finish("contraction", {x}).source, kLater);
  return code.find("mul.rn.f32") == std::string::npos || code.find("add.rn.f32") == std::string::npos;
}

int run(const std::vector<int>& capabilities, const std::string& folder) {
  if (!nvrtc().problem().empty()) {
    std::printf("skipped: %s\n", nvrtc().problem().c_str());
    return kMissing;
  }
  const std::vector<Case> cases = allCases();
  const size_t total = cases.size() * capabilities.size();
  std::atomic<size_t> next{0};
  std::atomic<int> failed{0}, most{0};
  std::mutex printing;
  const auto work = [&] {
    for (size_t i; (i = next++) < total;) {
      const Case& c = cases[i / capabilities.size()];
      const int capability = capabilities[i % capabilities.size()];
      int registers = 0;
      const std::string problem = problemOf(c, capability, folder, registers);
      if (registers > most) most = registers;
      if (problem.empty()) continue;
      ++failed;
      std::lock_guard lock(printing);
      std::printf("%s for %d: %s\n", c.name.c_str(), capability, problem.c_str());
    }
  };
  std::thread second(work);
  work();
  second.join();
  std::printf("%zu kernels compiled by %s, %d failed or spilled, at most %d registers\n", total,
              nvrtc().version().c_str(), failed.load(), most.load());
  const bool contracted = contracts();
  if (contracted) std::printf("products are contracted with sums\n");
  return failed || contracted ? 1 : 0;
}

}  // namespace
}  // namespace anneal::cuda

int main(int count, char** words) {
  std::vector<int> capabilities;
  std::string folder;
  for (int i = 1; i < count; ++i) {
    if (const int capability = std::atoi(words[i])) capabilities.push_back(capability);
    else folder = words[i];
  }
  if (capabilities.empty()) capabilities = {80, 90};
  return anneal::cuda::run(capabilities, folder);
}
