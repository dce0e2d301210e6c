#include "fused_chain.h"

#include <algorithm>
#include <cstring>

namespace anneal::cuda {

ChainOperands::ChainOperands(const cpu::Chain& chain, Arrangement a)
    : arrangement(std::move(a)), numbers(numbersOf(chain)) {
  numbers.resize(std::max<size_t>(1, numbers.size()));
}

bool ChainOperands::isAligned(std::span<const View> in, std::span<const View> out) const {
  const auto fits = [&](const View& v) {
    return reinterpret_cast<uintptr_t>(v.memory) % (size_t(arrangement.width) * itemSize(v.dtype)) == 0;
  };
  for (size_t k = 0; k < in.size(); ++k)
    if ((arrangement.aligned >> k & 1) && !fits(in[k])) return false;
  return std::all_of(out.begin(), out.end(), fits);
}

void ChainOperands::addTo(KernelArguments& arguments, std::span<const View> in, std::span<const View> out) const {
  std::vector<const void*> sources, values;
  std::vector<void*> targets;
  for (const View& v : in) {
    sources.push_back(v.memory);
    std::memcpy(&values.emplace_back(), v.scalar.data(), sizeof(void*));
  }
  for (const View& v : out) targets.push_back(v.memory);
  for (auto* operands : {&sources, &values}) operands->resize(std::max<size_t>(1, operands->size()));
  targets.resize(std::max<size_t>(1, targets.size()));
  sources.insert(sources.end(), values.begin(), values.end());
  arguments.add(sources.data(), sources.size());
  arguments.add(targets.data(), targets.size());
  arguments.add(numbers.data(), numbers.size());
  if (arrangement.strided) arguments.add(arrangement.axes.data(), arrangement.axes.size());
  arguments.add(isAligned(in, out));
}

}  // namespace anneal::cuda
