#include "map.h"

#include "cpu/elementwise.h"
#include "map_tables.h"
#include "op/infer.h"

namespace anneal::cuda {
namespace {

constexpr int kMost = 128;  // functors of a list

struct Tables {
  std::array<std::array<Map, kMost>, 3> maps{};
  Tables() { addAll(maps[0].data(), maps[1].data(), maps[2].data()); }
};

const Tables& tables() {
  static const Tables all;
  return all;
}

}  // namespace

Map mapOf(int arity, int functor) { return tables().maps[size_t(arity - 1)][size_t(functor)]; }

void implementMaps() {
  for (const Row* row : Registry::get().rows()) {
    if (!row->pointwise || row->kernels[size_t(DeviceType::Cuda)]) continue;
    const auto compute = [row](const void* attrs, std::span<const View> in, std::span<const View> out) {
      const Pointwise p = row->pointwise(attrs);
      const DType type = computeType(p.loops->boolResult ? promoted(in) : out[0].dtype);
      mapOf(p.arity, p.functor)(p.params.data(), type, in, out[0]);
    };
    Registry::get().implement(row->name, DeviceType::Cuda, compute);
  }
}

}  // namespace anneal::cuda
