// Elementwise ops that choose their functor when they run, or look at their operands first.
#include "cpu/scalar.h"
#include "device.h"
#include "index.h"
#include "map.h"
#include "op/define.h"
#include "ops/activation.h"
#include "value.h"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;

DType computeOf(const View& out) { return computeType(out.dtype); }

__global__ void __launch_bounds__(kThreads)
    findZero(const void* divisor, DType dtype, Walk<1, int64_t> walk, uint32_t n, FaultRecord* record, int site) {
  const auto i = uint32_t(threadNumber());
  if (i >= n) return;
  int64_t at[1];
  walk.place(i, at);
  if (loadAs<int64_t>(divisor, dtype, at[0]) == 0) report(record, site, 0);
}

Error byZero(const char* op) {
  return {Code::Value, text(op, ": division of an integer by zero; expected divisors other than 0")};
}

/// Integers have no quotient by 0.
void checkDivisors(const char* op, const FaultSite& site, const View& divisor) {
  if (isFloat(divisor.dtype) || divisor.size() == 0) return;
  if (!divisor.memory) {
    if (scalarAs<int64_t>(divisor) == 0) throw byZero(op);
    return;
  }
  const Nest nest({}, divisor);
  require(nest.shape.product() < int64_t(1) << 31, Code::Shape, op, ": more than 2^31 integer divisors on a GPU");
  launch(findZero, blocksFor(divisor.size(), kThreads), kThreads, 0, stream(), divisor.memory, divisor.dtype,
         Walk<1, int64_t>(nest), uint32_t(nest.shape.product()), current().faults(), site.number());
}

template <class F>
void divideCuda(const char* op, const FaultSite& site, const Call<None>& call) {
  if (!isFloat(call.out[0].dtype)) checkDivisors(op, site, call.in[1]);
  mapBy<F>(call.in, call.out[0], computeOf(call.out[0]));
}

const FaultSite floorDivByZero([](const FaultRecord&) { return byZero("floorDiv"); });
const FaultSite modByZero([](const FaultRecord&) { return byZero("mod"); });
const FaultSite fmodByZero([](const FaultRecord&) { return byZero("fmod"); });
void floorDivCuda(const Call<None>& call) { divideCuda<scalar::FloorDiv>("floorDiv", floorDivByZero, call); }
void modCuda(const Call<None>& call) { divideCuda<scalar::Mod>("mod", modByZero, call); }
void fmodCuda(const Call<None>& call) { divideCuda<scalar::Fmod>("fmod", fmodByZero, call); }

/// A power of floats by one number is often a simpler function.
void powCuda(const Call<None>& call) {
  const View &exponent = call.in[1], &out = call.out[0];
  const DType compute = computeOf(out);
  if (isFloat(out.dtype) && !exponent.memory) {
    const auto value = scalarAs<double>(exponent);
    const auto base = call.in.first(1);
    if (value == 1) return mapBy<scalar::Copy>(base, out, compute);
    if (value == 2) return mapBy<scalar::Square>(base, out, compute);
    if (value == 3) return mapBy<scalar::Cube>(base, out, compute);
    if (value == 0.5) return mapBy<scalar::Sqrt>(base, out, compute);
    if (value == -1) return mapBy<scalar::Reciprocal>(base, out, compute);
    if (value == -0.5) return mapBy<scalar::Rsqrt>(base, out, compute);
  }
  mapBy<scalar::Pow>(call.in, out, compute);
}

void bitwiseNotCuda(const Call<None>& call) {
  const View& out = call.out[0];
  if (out.dtype == DType::Bool) mapBy<scalar::LogicalNot>(call.in, out, DType::Int32);
  else mapBy<scalar::BitwiseNot>(call.in, out, computeOf(out));
}

void geluCuda(const Call<ops::Gelu>& call) {
  const View& out = call.out[0];
  if (call.attrs.approximate == ops::GeluForm::Tanh) mapBy<scalar::GeluTanh>(call.in, out, computeOf(out));
  else mapBy<scalar::Gelu>(call.in, out, computeOf(out));
}

void seluCuda(const Call<None>& call) {
  const double params[8] = {ops::kSeluAlpha * ops::kSeluScale, ops::kSeluScale, 1};
  mapBy<scalar::Elu>(call.in, call.out[0], computeOf(call.out[0]), params);
}

/// Where the mask is true the value, else x.
void maskedFillCuda(const Call<None>& call) {
  const std::array<View, 3> operands{call.in[1], call.in[2], call.in[0]};
  mapBy<scalar::Where>(operands, call.out[0], computeOf(call.out[0]));
}

const Implement<None> onCuda[] = {{"floorDiv", DeviceType::Cuda, floorDivCuda},
                                  {"mod", DeviceType::Cuda, modCuda},
                                  {"fmod", DeviceType::Cuda, fmodCuda},
                                  {"pow", DeviceType::Cuda, powCuda},
                                  {"bitwiseNot", DeviceType::Cuda, bitwiseNotCuda},
                                  {"selu", DeviceType::Cuda, seluCuda},
                                  {"maskedFill", DeviceType::Cuda, maskedFillCuda}};
const Implement<ops::Gelu> geluOnCuda("gelu", DeviceType::Cuda, geluCuda);

}  // namespace
}  // namespace anneal::cuda
