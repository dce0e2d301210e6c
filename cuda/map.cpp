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

}  // namespace

void implementMaps() {
  static const Tables tables;
  for (const Row* row : Registry::get().rows()) {
    if (!row->pointwise) continue;
    const auto compute = [row](const void* attrs, std::span<const View> in, std::span<const View> out) {
      const Pointwise p = row->pointwise(attrs);
      const bool test = p.loops->boolResult;
      const Map map = tables.maps[size_t(p.arity - 1)][size_t(p.functor)];
      map(p.params.data(), computeType(test ? promoted(in) : out[0].dtype), in, out[0]);
    };
    Registry::get().implement(row->name, DeviceType::Cuda, compute);
  }
}

}  // namespace anneal::cuda
