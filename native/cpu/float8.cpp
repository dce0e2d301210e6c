#include "cpu/float8.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/convert.h"
#include "ops/products.h"

namespace anneal::cpu {
namespace {

/// Elements as they are after rounding, times the factor that was chosen for them.
struct Rounded {
  std::vector<float> values;
  float factor = 1;
  View view;

  explicit Rounded(const View& v) : values(size_t(v.size())), view(v) {
    converter(v.dtype, DType::Float32)(v.data(), 1, values.data(), 1, v.size());
    uint32_t largest = 0;  // of the bits: NaN is above infinity
    for (float f : values) largest = std::max(largest, asBits(std::fabs(f)));
    factor = float8Factor(asFloat(largest));
    for (float& f : values) f = fromFloat8(toFloat8(f * factor));
    view.memory = reinterpret_cast<std::byte*>(values.data());
    view.dtype = DType::Float32;
  }
};

}  // namespace

void linearFp8(const View& x, const View& weight, const View& bias, const View& out) {
  if (out.size() == 0) return;
  const Rounded a(x), b(weight);
  std::vector<float> product(size_t(out.size())), added(size_t(bias.defined ? bias.size() : 0));
  if (bias.defined) converter(bias.dtype, DType::Float32)(bias.data(), 1, added.data(), 1, bias.size());
  View to = out;
  to.memory = reinterpret_cast<std::byte*>(product.data());
  to.dtype = DType::Float32;
  gemm(ops::productOf(ops::Matrices::of(a.view), ops::Matrices::of(b.view).transposed(), to));
  const float scale = (1 / a.factor) * (1 / b.factor);
  const auto columns = size_t(weight.shape[0]);
  for (size_t i = 0; i < product.size(); ++i)
    product[i] = product[i] * scale + (added.empty() ? 0.0f : added[i % columns]);
  converter(DType::Float32, out.dtype)(product.data(), 1, out.data(), 1, out.size());
}

}  // namespace anneal::cpu
