// The cross-entropy of a linear layer's outputs and its gradients, from the logits of some rows at a time.
#include "ops/linear_crossentropy.h"

#include "blas.h"
#include "columns.h"
#include "copy.h"
#include "crossentropy.cuh"

namespace anneal::cuda {
namespace {

constexpr int64_t kBytes = int64_t(512) << 20;  // of logits at a time: the weights and their sums go by each of these
constexpr int64_t kTile = 128;                  // rows of a product's tile

const FaultSite outOfRange([](const FaultRecord& r) { return badTarget("linearCrossEntropy", r); });

/// The losses of rows; with `gradients`, those of the logits take their places.
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    lossesInPlace(T* x, Targets t, RowResults<Computed<T>> out, bool gradients) {
  using C = Computed<T>;
  __shared__ Exponentials<C> shared[kWarp];
  __shared__ Two<C> sharedTwo[kWarp];
  const int64_t row = rowNumber();
  if (row >= t.rows) return;
  const int64_t wanted = t.classOf(row);
  const bool known = t.counts(wanted);
  x += row * t.pitch;
  const RowLoss<C> found = lossOfRow<T, false>(x, t, row, wanted, known, shared, sharedTwo);
  if (threadIdx.x == 0) leave(found, t, row, wanted, known, out);
  if (!gradients) return;
  __syncwarp();  // the wanted logit has been read by all: blocks have met, single warps need not have
  gradientOfRow<T, false>(x, t, row, wanted, known, C(1), found.weight, found.logSumExp, x);
}

/// In the dtype T of x and weight; sums over many logits are of float32.
template <class T>
class LinearChunks {
 public:
  explicit LinearChunks(const Call<ops::LinearCrossEntropy>& call)
      : call_(call),
        target_(call.in[2], call.in[2].dtype),
        rows_(call.in[0].shape[0]),
        features_(call.in[0].shape[1]),
        classes_(call.in[1].shape[0]),
        pitch_((classes_ + kPack<T> - 1) / kPack<T> * kPack<T>),
        most_(std::clamp(kBytes / (pitch_ * int64_t(sizeof(T))) / kTile * kTile, kTile, std::max(kTile, rows_))),
        logits_(size_t(most_ * pitch_) * sizeof(T)),
        sums_(size_t(2 * rows_ + 1) * sizeof(double)) {}

  void run() {
    const bool gradients = call_.attrs.gradients;
    double *losses = sums_.as<double>(), *counts = losses + rows_;
    for (int64_t begin = 0; begin < rows_; begin += most_) {
      const int64_t n = std::min(most_, rows_ - begin);
      makeLogits(begin, n);
      launch(lossesInPlace<T>, plan().blocksFor(n), plan().block, 0, stream(), logits_.as<T>(), targets(begin, n),
             RowResults<float>{nullptr, nullptr, losses + begin, counts + begin}, gradients);
      if (gradients) addGradients(begin, n);
    }
    launch(totalOfRows<float>, 1, kTotalThreads, 0, stream(), losses, counts, rows_,
           call_.attrs.reduction == ops::LossReduction::Mean, call_.out[0].as<float>(), call_.out[4].as<float>());
    if (gradients && rows_ == 0)
      for (const View& v : call_.out.subspan(2, 2)) fill(v, 0);
  }

 private:
  static constexpr bool kWide = sizeof(T) == 2;

  RowPlan plan() const { return planRows<T>(classes_, 0, {}); }
  const T* x(int64_t row) const { return call_.in[0].as<T>() + row * features_; }
  const T* weight(int64_t row) const { return call_.in[1].as<T>() + row * features_; }
  Targets targets(int64_t begin, int64_t n) const {
    const View& t = target_.view();
    return {t.memory + begin * int64_t(itemSize(t.dtype)),
            t.dtype,
            Parameter(),
            n,
            classes_,
            pitch_,
            call_.attrs.ignoreIndex,
            call_.attrs.labelSmoothing,
            current().faults(),
            outOfRange.number(),
            begin};
  }

  /// Calls f(first, count) for the classes that make whole 16-byte packs, then for the few others: products of all of
  /// them would be refused by the faster kernels for tensor cores, those that need multiples.
  template <class F>
  void eachPart(F&& f) const {
    const int64_t whole = classes_ / kPack<T> * kPack<T>;
    if (whole > 0) f(0, whole);
    if (whole < classes_) f(whole, classes_ - whole);
  }

  void makeLogits(int64_t begin, int64_t n) const {
    eachPart([&](int64_t first, int64_t count) {
      multiply({.dtype = call_.in[0].dtype,
                .m = n,
                .n = count,
                .k = features_,
                .a = {x(begin), features_, 1},
                .b = {weight(first), 1, features_},
                .c = logits_.as<T>() + first,
                .ldc = pitch_,
                .bias = call_.in[3].defined ? call_.in[3].as<T>() + first : nullptr});
    });
  }

  void addGradients(int64_t begin, int64_t n) const {
    const T* g = logits_.as<T>();
    eachPart([&](int64_t first, int64_t count) {
      multiply({.dtype = call_.in[0].dtype,
                .wide = kWide,
                .m = n,
                .n = features_,
                .k = count,
                .a = {g + first, pitch_, 1},
                .b = {weight(first), features_, 1},
                .c = call_.out[1].as<float>() + begin * features_,
                .ldc = features_,
                .beta = first > 0 ? 1.0 : 0.0});
      multiply({.dtype = call_.in[0].dtype,
                .wide = kWide,
                .m = count,
                .n = features_,
                .k = n,
                .a = {g + first, 1, pitch_},
                .b = {x(begin), features_, 1},
                .c = call_.out[2].as<float>() + first * features_,
                .ldc = features_,
                .beta = begin > 0 ? 1.0 : 0.0});
    });
    if (call_.in[3].defined) sumColumns(g, n, classes_, pitch_, begin > 0, call_.out[3].as<float>());
  }

  const Call<ops::LinearCrossEntropy>& call_;
  const Prepared target_;
  const int64_t rows_, features_, classes_, pitch_, most_;
  const Scratch logits_, sums_;
};

const Implement<ops::LinearCrossEntropy> linearPartsOnCuda("linearCrossEntropyParts", DeviceType::Cuda,
                                                           [](const Call<ops::LinearCrossEntropy>& call) {
                                                             visitFloat(call.in[0].dtype, [&]<class T>(TypeTag<T>) {
                                                               if constexpr (!std::is_same_v<T, double>)
                                                                 LinearChunks<T>(call).run();
                                                             });
                                                           });

}  // namespace
}  // namespace anneal::cuda
