// The cross-entropy of logits and its gradient: a warp or a block for each row, which is read once where targets are
// classes without smoothing.
#include "ops/crossentropy.h"

#include "copy.h"
#include "crossentropy.cuh"

namespace anneal::cuda {
namespace {

const FaultSite outOfRange([](const FaultRecord& r) { return badTarget("crossEntropy", r); });

template <class T, bool Soft>
__global__ void __launch_bounds__(kRowThreads, sizeof(T) == 2 ? 0 : 1)
    lossOfRows(const T* x, Targets t, RowResults<Computed<T>> out) {
  using C = Computed<T>;
  __shared__ Exponentials<C> shared[kWarp];
  __shared__ Two<C> sharedTwo[kWarp];
  const int64_t row = rowNumber();
  if (row >= t.rows) return;
  const int64_t wanted = Soft ? 0 : t.classOf(row);
  const bool known = Soft || t.counts(wanted);
  const RowLoss<C> found = lossOfRow<T, Soft>(x + row * t.pitch, t, row, wanted, known, shared, sharedTwo);
  if (threadIdx.x == 0) leave(found, t, row, wanted, known, out);
}

template <class T>
__global__ void __launch_bounds__(256) storeLosses(const double* loss, T* out, int64_t n) {
  const int64_t i = threadNumber();
  if (i < n) out[i] = cpu::convertTo<T>(Computed<T>(loss[i]));
}

/// gradient / divisor * (weight * softmax(x) - target).
template <class T, bool Soft>
__global__ void __launch_bounds__(kRowThreads, kLeastBlocks<T, 1>)
    gradientOfRows(const T* x, Targets t, const Computed<T>* logSumExp, const Computed<T>* weight,
                   const Computed<T>* divisor, const T* gradient, bool oneGradient, T* out) {
  using C = Computed<T>;
  const int64_t row = rowNumber();
  if (row >= t.rows) return;
  const int64_t wanted = Soft ? 0 : t.classOf(row);
  const C scale = cpu::convertTo<C>(gradient[oneGradient ? 0 : row]) / *divisor;
  gradientOfRow<T, Soft>(x + row * t.pitch, t, row, wanted, Soft || t.counts(wanted), scale, weight[row],
                         logSumExp[row], out + row * t.pitch);
}

Targets targetsOf(const ops::CrossEntropy& a, const View& logits, const View& target, const View& weight) {
  const int64_t classes = logits.shape.back();
  return {target.memory, target.dtype,  Parameter(weight), logits.size() / classes, classes,
          classes,       a.ignoreIndex, a.labelSmoothing,  current().faults(),      outOfRange.number()};
}

/// Calls f(TypeTag<T>, Soft) for the logits' type and the kind of targets.
template <class F>
void visitTargets(const View& logits, const View& target, F&& f) {
  visitFloat(logits.dtype, [&]<class T>(TypeTag<T> tag) {
    if (isFloat(target.dtype)) f(tag, std::true_type{});
    else f(tag, std::false_type{});
  });
}

void partsCuda(const Call<ops::CrossEntropy>& call) {
  const Prepared target(call.in[1], call.in[1].dtype);
  const View &x = call.in[0], &loss = call.out[0];
  const Targets t = targetsOf(call.attrs, x, target.view(), call.in[2]);
  const bool each = call.attrs.reduction == ops::LossReduction::None;
  visitTargets(x, target.view(), [&]<class T, bool Soft>(TypeTag<T>, std::bool_constant<Soft>) {
    using C = Computed<T>;
    const Scratch rows(size_t(2 * t.rows + 1) * sizeof(double));
    double *losses = rows.as<double>(), *counts = losses + t.rows;
    const RowPlan plan = planRows<T>(t.classes, 0, {});
    if (t.rows > 0)
      launch(lossOfRows<T, Soft>, plan.blocksFor(t.rows), plan.block, 0, stream(), x.as<T>(), t,
             RowResults<C>{call.out[1].as<C>(), call.out[2].as<C>(), losses, counts});
    launch(totalOfRows<T>, 1, kTotalThreads, 0, stream(), losses, counts, t.rows,
           call.attrs.reduction == ops::LossReduction::Mean, each ? nullptr : loss.as<T>(), call.out[3].as<C>());
    if (each && t.rows > 0)
      launch(storeLosses<T>, blocksFor(t.rows, 256), 256, 0, stream(), losses, loss.as<T>(), t.rows);
  });
}

/// Inputs: logits, target, weight?, logSumExp, rowWeight, divisor, gradient.
void gradCuda(const Call<ops::CrossEntropy>& call) {
  const View &x = call.in[0], &out = call.out[0];
  if (out.size() == 0) return;
  const Prepared target(call.in[1], call.in[1].dtype), gradient(call.in[6], x.dtype);
  const Targets t = targetsOf(call.attrs, x, target.view(), call.in[2]);
  visitTargets(x, target.view(), [&]<class T, bool Soft>(TypeTag<T>, std::bool_constant<Soft>) {
    using C = Computed<T>;
    const DType compute = computeType(x.dtype);
    const Prepared logSumExp(call.in[3], compute), weight(call.in[4], compute), divisor(call.in[5], compute);
    const RowPlan plan = planRows<T>(t.classes, 0, {});
    launch(gradientOfRows<T, Soft>, plan.blocksFor(t.rows), plan.block, 0, stream(), x.as<T>(), t,
           logSumExp.view().as<C>(), weight.view().as<C>(), divisor.view().as<C>(), gradient.view().as<T>(),
           gradient.view().size() == 1, out.as<T>());
  });
}

const Implement<ops::CrossEntropy> partsOnCuda("crossEntropyParts", DeviceType::Cuda, partsCuda);
const Implement<ops::CrossEntropy> gradOnCuda("crossEntropyGrad", DeviceType::Cuda, gradCuda);

}  // namespace
}  // namespace anneal::cuda
