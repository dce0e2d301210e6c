#include "ops/allreduce.h"

#include "ops/arithmetic.h"
#include "ops/creation.h"
#include "ops/device.h"
#include "ops/views.h"
#include "runtime/collectives.h"
#include "runtime/context.h"

namespace anneal::ops {
namespace {

void checkAlike(const Tensor& first, const Tensor& other, size_t position) {
  require(other.shape() == first.shape(), Code::Shape, "allReduce: shapes must be equal: ", first.shape(),
          " and, at position ", position, ", ", other.shape());
  require(other.dtype() == first.dtype(), Code::DType, "allReduce: dtypes must be equal: ", first.dtype(),
          " and, at position ", position, ", ", other.dtype());
}

void checkInputs(Inputs tensors, bool mean) {
  require(!tensors.empty(), Code::Value, "allReduce: expected a tensor of each device; got none");
  for (size_t i = 1; i < tensors.size(); ++i) checkAlike(tensors[0], tensors[i], i);
  for (size_t i = 1; i < tensors.size(); ++i)
    for (size_t k = 0; k < i; ++k)
      require(&tensors[i].device() != &tensors[k].device(), Code::Device, "allReduce: the tensors at positions ", k,
              " and ", i, " are both on ", tensors[i].device().name(),
              "; expected one of each device: add up first what is on the same");
  const DType dtype = tensors[0].dtype();
  require(dtype != DType::Bool, Code::DType, "allReduce: bool cannot be added up; cast() it to a number");
  require(!mean || isFloat(dtype), Code::DType, "allReduce: the mean of ", dtype,
          " tensors is a fraction; cast() them to a floating-point dtype, or ask for the sum");
}

/// How the tensors' devices add up by themselves, or null where they cannot, or gradients are to flow back.
const Collectives* ownWay(Inputs tensors) {
  if (tensors.size() < 2 || tensors[0].size() == 0) return nullptr;
  for (const Tensor& t : tensors) {
    const bool recorded = Context::current().gradEnabled && t.requiresGrad();
    if (t.device().type() != DeviceType::Cuda || !t.impl()->storage || recorded) return nullptr;
  }
  const Collectives* own = collectives();
  return own && own->serve() ? own : nullptr;
}

Tensors among(const Collectives& own, Inputs tensors, bool mean) {
  GradMode off(false);
  Tensors out;
  std::vector<Share> shares;
  for (const Tensor& t : tensors) {
    const Tensor from = t.contiguous() ? t.detach() : contiguous(t.detach());
    out.push_back(emptyTensor(from.spec(), from.device()));
    shares.push_back({&from.device(), from.impl()->storage, from.view().memory, out.back().impl()->storage});
  }
  own.allReduce(shares, tensors[0].dtype(), tensors[0].size(), mean);
  return out;
}

/// All are added up on the first device, in the order of the list, and copied from there.
Tensors byCopies(Inputs tensors, bool mean) {
  const To first{.device = tensors[0].device().name()};
  Tensor sum = tensors[0];
  for (const Tensor& t : tensors.subspan(1)) sum = add(sum, to(t, first));
  if (mean && tensors.size() > 1) sum = div(sum, number(double(tensors.size())));
  Tensors out;
  for (const Tensor& t : tensors) out.push_back(to(sum, {.device = t.device().name()}));
  return out;
}

}  // namespace

Tensors allReduce(Inputs tensors, bool mean) {
  checkInputs(tensors, mean);
  const Collectives* own = ownWay(tensors);
  return own ? among(*own, tensors, mean) : byCopies(tensors, mean);
}

}  // namespace anneal::ops
