// The cross-entropy of logits, or of a linear layer's outputs, and the gradients: a warp or a block for each row, which
// is read once where targets are classes without smoothing.
#include "ops/crossentropy.h"

#include "blas.h"
#include "columns.h"
#include "copy.h"
#include "exponentials.cuh"
#include "ops/linear_crossentropy.h"

namespace anneal::cuda {
namespace {

constexpr int kTotalThreads = 1024;

Error badTarget(const char* op, const FaultRecord& r) {
  return Error(Code::Index, text(op, ": the target of row ", r.a, " is ", r.b, "; expected a class from 0 to ", r.c - 1,
                                 " or ignoreIndex (", r.d, ")"));
}
const FaultSite outOfRange([](const FaultRecord& r) { return badTarget("crossEntropy", r); });
const FaultSite outOfRangeOfLinear([](const FaultRecord& r) { return badTarget("linearCrossEntropy", r); });

/// What rows of logits are compared with.
struct Targets {
  const void* memory;
  DType dtype;
  Parameter weight;
  int64_t rows, classes, ignore;
  double smoothing;
  FaultRecord* faults;
  int site;
  int64_t first = 0;  // the number of the first row among all

  __device__ int64_t classOf(int64_t row) const { return loadAs<int64_t>(memory, dtype, row); }
  /// Whether a row of that class counts.
  __device__ bool counts(int64_t wanted) const { return wanted != ignore && wanted >= 0 && wanted < classes; }
  template <class C>
  __device__ C weightOf(int64_t j) const {
    C w[1];
    weight.load(j, w, C(1));
    return w[0];
  }
  /// How much of the target falls to N classes from `at` on, apart from the class that is named: each with its weight.
  template <bool Soft, int N, class C>
  __device__ __forceinline__ void share(int64_t row, int64_t at, C (&to)[N]) const {
    const C hard = C(1 - smoothing), even = C(smoothing / double(classes));
    weight.load(at, to, C(1));
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if constexpr (Soft) to[i] *= hard * loadAs<C>(memory, dtype, row * classes + at + i) + even;
      else to[i] *= even;
    }
  }
};

/// Of each row its loss, its log-sum-exp, the weight of its target and what it counts in the mean.
template <class C>
struct RowResults {
  C *logSumExp, *weight;
  double *loss, *count;
};

template <class T, bool Soft>
__global__ void __launch_bounds__(kRowThreads) lossOfRows(const T* x, Targets t, RowResults<Computed<T>> out) {
  using C = Computed<T>;
  __shared__ Exponentials<C> shared[kWarp];
  __shared__ Two<C> sharedTwo[kWarp];
  const int64_t row = rowNumber();
  if (row >= t.rows) return;
  const int64_t wanted = Soft ? 0 : t.classOf(row);
  const bool known = Soft || t.counts(wanted);
  x += row * t.classes;
  C logSumExp = 0;
  Two<C> sums{0, 0};  // of shares, and of those times the loss of their class
  if (known) {
    auto state = Exponentials<C>::none();
    eachRun(x, t.classes, [&]<int N>(Run<N>, int64_t at) {
      C values[N];
      loadRun<N>(x + at, values);
      take<T>(state, values);
    });
    state = mergeBlock(state, shared, MergeExponentials<T>());
    logSumExp = state.top + std::log(state.sum);
    if (Soft || t.smoothing != 0) {
      eachRun(x, t.classes, [&]<int N>(Run<N>, int64_t at) {
        C values[N], part[N];
        loadRun<N>(x + at, values);
        t.share<Soft>(row, at, part);
#pragma unroll
        for (int i = 0; i < N; ++i) sums = sums + Two<C>{part[i], part[i] * (logSumExp - values[i])};
      });
      sums = mergeBlock(sums, sharedTwo, Add());
    }
  }
  if (threadIdx.x != 0) return;
  C count = known ? C(1) : C(0);
  if (!Soft && known) {
    count = t.weightOf<C>(wanted);
    const C part = C(1 - t.smoothing) * count;
    sums = sums + Two<C>{part, part * (logSumExp - cpu::convertTo<C>(x[wanted]))};
  } else if (!known && wanted != t.ignore) {
    report(t.faults, t.site, t.first + row, wanted, t.classes, t.ignore);
  }
  out.logSumExp[row] = logSumExp;
  out.weight[row] = sums.first;
  out.loss[row] = double(sums.second);
  out.count[row] = double(count);
}

/// The sum or mean of the rows' losses, and what the mean divides by: one block.
template <class T>
__global__ void __launch_bounds__(kTotalThreads)
    totalOfRows(const double* loss, const double* count, int64_t rows, bool mean, T* total, Computed<T>* divisor) {
  __shared__ Two<double> shared[kWarp];
  Two<double> sum{0, 0};
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < rows; i += kTotalThreads) sum = sum + Two<double>{loss[i], count[i]};
  sum = mergeBlock(sum, shared, Add());
  if (threadIdx.x != 0) return;
  const double by = mean ? sum.second : 1;
  *divisor = Computed<T>(by);
  if (total) *total = cpu::convertTo<T>(Computed<T>(sum.first / by));
}

template <class T>
__global__ void __launch_bounds__(256) storeLosses(const double* loss, T* out, int64_t n) {
  const int64_t i = threadNumber();
  if (i < n) out[i] = cpu::convertTo<T>(Computed<T>(loss[i]));
}

/// gradient / divisor * (weight * softmax(x) - target); a gradient of 1 where there is none. `out` may be `x`.
template <class T, bool Soft>
__global__ void __launch_bounds__(kRowThreads)
    gradientOfRows(const T* x, Targets t, const Computed<T>* logSumExp, const Computed<T>* weight,
                   const Computed<T>* divisor, const T* gradient, bool oneGradient, T* out) {
  using C = Computed<T>;
  const int64_t row = rowNumber();
  if (row >= t.rows) return;
  const int64_t wanted = Soft ? 0 : t.classOf(row);
  x += row * t.classes;
  out += row * t.classes;
  if (!Soft && !t.counts(wanted)) {
    eachRun(out, t.classes, [&]<int N>(Run<N>, int64_t at) {
      const C none[N] = {};
      storeRun<N>(out + at, none);
    });
    return;
  }
  const C scale = (gradient ? cpu::convertTo<C>(gradient[oneGradient ? 0 : row]) : C(1)) / *divisor,
          factor = scale * weight[row], lse = logSumExp[row],
          least = Soft ? C(0) : scale * C(1 - t.smoothing) * t.weightOf<C>(wanted);
  const bool shares = Soft || t.smoothing != 0;
  eachRun(x, t.classes, [&]<int N>(Run<N>, int64_t at) {
    C values[N], part[N] = {};
    loadRun<N>(x + at, values);
    if (shares) t.share<Soft>(row, at, part);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      values[i] = factor * exponential<T>(values[i] - lse) - scale * part[i];
      if (!Soft && at + i == wanted) values[i] -= least;
    }
    storeRun<N>(out + at, values);
  });
}

Targets targetsOf(const ops::CrossEntropy& a, const View& logits, const View& target, const View& weight) {
  const int64_t classes = logits.shape.back();
  return {target.memory, target.dtype,     Parameter(weight),  logits.size() / classes, classes,
          a.ignoreIndex, a.labelSmoothing, current().faults(), outOfRange.number()};
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

/// What a mean divides by, before the losses are known: one block.
__global__ void __launch_bounds__(kTotalThreads) countTargets(Targets t, bool mean, float* divisor) {
  __shared__ float shared[kWarp];
  float count = 0;
  for (int64_t i = threadIdx.x; i < t.rows; i += kTotalThreads) count += t.classOf(i) != t.ignore ? 1.0f : 0.0f;
  count = mergeBlock(count, shared, Add());
  if (threadIdx.x == 0) *divisor = mean ? count : 1.0f;
}

/// linearCrossEntropyParts: the logits of some rows at a time, which become their gradients in place.
class LinearChunks {
 public:
  explicit LinearChunks(const Call<ops::LinearCrossEntropy>& call)
      : call_(call),
        target_(call.in[2], call.in[2].dtype),
        rows_(call.in[0].shape[0]),
        features_(call.in[0].shape[1]),
        classes_(call.in[1].shape[0]),
        most_(std::clamp(kBytes / (classes_ * int64_t(sizeof(float))) / kTile * kTile, kTile, std::max(kTile, rows_))),
        logits_(size_t(most_ * classes_) * sizeof(float)),
        sums_(size_t(2 * rows_ + 1) * sizeof(double)),
        parts_(size_t(2 * rows_ + 1) * sizeof(float)),
        toBias_(size_t((rows_ / most_ + 1) * classes_) * sizeof(float)) {}

  void run() {
    const bool mean = call_.attrs.reduction == ops::LossReduction::Mean, gradients = call_.attrs.gradients;
    float* divisor = parts_.as<float>() + 2 * rows_;
    launch(countTargets, 1, kTotalThreads, 0, stream(), targets(0, rows_), mean, divisor);
    int64_t chunks = 0;
    for (int64_t begin = 0; begin < rows_; begin += most_, ++chunks) {
      const int64_t n = std::min(most_, rows_ - begin);
      losses(begin, n);
      if (gradients) toLogits(begin, n, divisor), addGradients(begin, n, chunks);
    }
    double *losses = sums_.as<double>(), *counts = losses + rows_;
    launch(totalOfRows<float>, 1, kTotalThreads, 0, stream(), losses, counts, rows_, mean, call_.out[0].as<float>(),
           divisor);
    if (gradients && call_.in[3].defined) sumPieces(toBias_.as<float>(), chunks, classes_, call_.out[3].as<float>());
    if (gradients && rows_ == 0) fill(call_.out[2], 0);
  }

 private:
  static constexpr int64_t kBytes = int64_t(256) << 20, kTile = 128;

  const float* x(int64_t row) const { return call_.in[0].as<float>() + row * features_; }
  Targets targets(int64_t begin, int64_t n) const {
    const View& t = target_.view();
    return {t.memory + begin * int64_t(itemSize(t.dtype)),
            t.dtype,
            Parameter(),
            n,
            classes_,
            call_.attrs.ignoreIndex,
            call_.attrs.labelSmoothing,
            current().faults(),
            outOfRangeOfLinear.number(),
            begin};
  }
  RowResults<float> results(int64_t begin) const {
    return {parts_.as<float>() + begin, parts_.as<float>() + rows_ + begin, sums_.as<double>() + begin,
            sums_.as<double>() + rows_ + begin};
  }

  void losses(int64_t begin, int64_t n) const {
    multiply({.m = n,
              .n = classes_,
              .k = features_,
              .a = {x(begin), features_, 1},
              .b = {call_.in[1].data(), 1, features_},
              .c = logits_.as<float>(),
              .ldc = classes_,
              .bias = call_.in[3].defined ? call_.in[3].data() : nullptr});
    const RowPlan plan = planRows<float>(classes_, 0, {});
    launch(lossOfRows<float, false>, plan.blocksFor(n), plan.block, 0, stream(), logits_.as<float>(), targets(begin, n),
           results(begin));
  }

  void toLogits(int64_t begin, int64_t n, const float* divisor) const {
    const RowPlan plan = planRows<float>(classes_, 0, {});
    const RowResults<float> r = results(begin);
    launch(gradientOfRows<float, false>, plan.blocksFor(n), plan.block, 0, stream(), logits_.as<float>(),
           targets(begin, n), r.logSumExp, r.weight, divisor, nullptr, true, logits_.as<float>());
  }

  void addGradients(int64_t begin, int64_t n, int64_t chunk) const {
    const float* g = logits_.as<float>();
    multiply({.m = n,
              .n = features_,
              .k = classes_,
              .a = {g, classes_, 1},
              .b = {call_.in[1].data(), features_, 1},
              .c = call_.out[1].as<float>() + begin * features_,
              .ldc = features_});
    multiply({.m = classes_,
              .n = features_,
              .k = n,
              .a = {g, 1, classes_},
              .b = {x(begin), features_, 1},
              .c = call_.out[2].data(),
              .ldc = features_,
              .beta = begin ? 1.0 : 0.0});
    if (call_.in[3].defined) sumPieces(g, n, classes_, toBias_.as<float>() + chunk * classes_);
  }

  const Call<ops::LinearCrossEntropy>& call_;
  const Prepared target_;
  const int64_t rows_, features_, classes_, most_;
  const Scratch logits_, sums_, parts_, toBias_;
};

void linearPartsCuda(const Call<ops::LinearCrossEntropy>& call) { LinearChunks(call).run(); }

const Implement<ops::LinearCrossEntropy> linearPartsOnCuda("linearCrossEntropyParts", DeviceType::Cuda,
                                                           linearPartsCuda);
const Implement<ops::CrossEntropy> partsOnCuda("crossEntropyParts", DeviceType::Cuda, partsCuda);
const Implement<ops::CrossEntropy> gradOnCuda("crossEntropyGrad", DeviceType::Cuda, gradCuda);

}  // namespace
}  // namespace anneal::cuda
