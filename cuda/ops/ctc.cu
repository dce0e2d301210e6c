// Connectionist temporal classification (Graves et al. 2006), section 4, in logarithms: a block for each sample goes
// from frame to frame, its threads share the states.
#include "ops/ctc.h"

#include <limits>

#include "copy.h"
#include "cpu/ctc.h"
#include "device.h"
#include "rows.cuh"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;

const FaultSite wrongInputLength([](const FaultRecord& r) {
  return Error(Code::Value, text("ctcLoss: the input length of sample ", r.a, " is ", r.b, "; expected 0 to ", r.c));
});
const FaultSite wrongTargetLength([](const FaultRecord& r) {
  return Error(Code::Value, text("ctcLoss: the target length of sample ", r.a, " is ", r.b, "; expected 0 to ", r.c));
});
const FaultSite wrongTarget([](const FaultRecord& r) {
  return Error(Code::Index, text("ctcLoss: target ", r.a % (int64_t(1) << 32), " of sample ", r.a >> 32, " is ", r.b,
                                 "; expected a class from 0 to ", r.c - 1, " other than the blank (", r.d, ")"));
});

/// Integers of one of two dtypes.
struct Integers {
  const void* memory;
  bool wide;
  explicit Integers(const View& v) : memory(v.memory), wide(v.dtype == DType::Int64) {}
  __device__ int64_t at(int64_t i) const {
    return wide ? static_cast<const int64_t*>(memory)[i] : static_cast<const int32_t*>(memory)[i];
  }
};

/// The inputs of a call. States are the target's labels with a blank before, between and after them.
template <class T>
struct Samples {
  const T* logProbs;
  Integers targets, inputLengths, targetLengths;
  int64_t frames, batch, classes, longest, blank;
  int sites[3];
  FaultRecord* record;

  __device__ int64_t states() const { return 2 * longest + 1; }
  __device__ int64_t alphaStep() const { return states() + cpu::kCtcPadding; }
  __device__ int64_t target(int64_t sample, int64_t i) const { return targets.at(sample * longest + i); }
  __device__ int64_t label(int64_t sample, int64_t state) const {
    return state % 2 ? target(sample, state / 2) : blank;
  }
  /// Whether a state can follow the one before the last.
  __device__ bool skips(int64_t sample, int64_t state) const {
    return state % 2 && state >= 3 && target(sample, state / 2) != target(sample, state / 2 - 1);
  }
  __device__ int64_t offset(int64_t sample, int64_t frame) const { return (frame * batch + sample) * classes; }
};

/// A sample whose values were checked by its block; false in all threads where one is wrong.
struct Sample {
  int64_t number, frames, states;
  template <class T>
  __device__ bool check(const Samples<T>& all, int64_t sample) {
    const int64_t inputs = all.inputLengths.at(sample), targets = all.targetLengths.at(sample);
    number = sample;
    frames = inputs;
    states = 2 * targets + 1;
    const bool known = inputs >= 0 && inputs <= all.frames && targets >= 0 && targets <= all.longest;
    if (!known) {
      if (threadIdx.x == 0 && !(inputs >= 0 && inputs <= all.frames))
        report(all.record, all.sites[0], sample, inputs, all.frames);
      else if (threadIdx.x == 0) report(all.record, all.sites[1], sample, targets, all.longest);
      return false;
    }
    bool wrong = false;
    for (int64_t i = threadIdx.x; i < targets; i += kThreads) {
      const int64_t label = all.target(sample, i);
      if (label >= 0 && label < all.classes && label != all.blank) continue;
      wrong = true;
      report(all.record, all.sites[2], sample << 32 | i, label, all.classes, all.blank);
    }
    return !__syncthreads_or(wrong);
  }
};

template <class T>
constexpr T kNever = -std::numeric_limits<T>::infinity();

template <class T>
__device__ T logSumExp(T a, T b, T c) {
  const T top = std::max(std::max(a, b), c);
  const T base = top > kNever<T> ? top : T(0);  // so that infinities are compared with a finite number
  return base + std::log(std::exp(a - base) + std::exp(b - base) + std::exp(c - base));
}

/// alpha [batch, frames, padding + states]: the log-probability of each state with all that leads to it.
template <class T>
__global__ void __launch_bounds__(kThreads, 1) forward(Samples<T> all, T* losses, T* alpha) {
  Sample s;
  if (!s.check(all, blockIdx.x)) {
    if (threadIdx.x == 0) losses[blockIdx.x] = std::numeric_limits<T>::quiet_NaN();
    return;
  }
  T* now = alpha + s.number * all.frames * all.alphaStep() + cpu::kCtcPadding;
  for (int64_t t = 0; t < s.frames; ++t, now += all.alphaStep()) {
    const T* emission = all.logProbs + all.offset(s.number, t);
    const T* before = now - all.alphaStep();
    if (threadIdx.x < cpu::kCtcPadding) now[-1 - int(threadIdx.x)] = kNever<T>;
    for (int64_t i = threadIdx.x; i < s.states; i += kThreads) {
      const T own = emission[all.label(s.number, i)];
      if (t == 0) now[i] = i < 2 ? own : kNever<T>;
      else now[i] = logSumExp(before[i], before[i - 1], all.skips(s.number, i) ? before[i - 2] : kNever<T>) + own;
    }
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  const T* last = now - all.alphaStep() + s.states - 1;
  if (s.frames == 0) losses[s.number] = s.states == 1 ? T(0) : -kNever<T>;
  else losses[s.number] = -logSumExp(last[0], last[-1], kNever<T>);
}

/// What the backward pass keeps of a sample: of each state the log-probability of all that follows it, with its own
/// emission (padded for the states after the last), and its probability at a frame; and for each label the next place
/// where it is the same, or -1, and whether it is the first of them.
template <class T>
struct Work {
  T *onward, *posterior;
  int32_t *following, *first;
  int64_t states;
  static __host__ __device__ int64_t bytes(int64_t states) {
    return (2 * states + cpu::kCtcPadding) * int64_t(sizeof(T)) + (states + 1) / 2 * 8;
  }
  __device__ Work(std::byte* memory, int64_t states, int64_t sample)
      : onward(reinterpret_cast<T*>(memory + sample * bytes(states))),
        posterior(onward + states + cpu::kCtcPadding),
        following(reinterpret_cast<int32_t*>(posterior + states)),
        first(following + (states + 1) / 2),
        states(states) {}
  __device__ void link(const Samples<T>& all, const Sample& s) {
    const int64_t labels = s.states / 2;
    for (int64_t i = threadIdx.x; i < labels; i += kThreads) first[i] = 1, following[i] = -1;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < labels; i += kThreads)
      for (int64_t k = i + 1; k < labels && following[i] < 0; ++k)
        if (all.target(s.number, k) == all.target(s.number, i)) following[i] = int32_t(k), first[k] = 0;
    for (int64_t i = threadIdx.x; i < s.states + cpu::kCtcPadding; i += kThreads) onward[i] = kNever<T>;
    __syncthreads();
  }
};

template <class T>
struct Gradient {
  const T *losses, *alpha, *gradient;
  T* out;
  std::byte* work;
  bool zeroInfinity;
};

/// The gradient of a frame from the states' posteriors: all blanks together, all states of a label together.
template <class T>
__device__ void collect(const Samples<T>& all, const Sample& s, const Work<T>& w, T factor, T blanks, T* to) {
  if (threadIdx.x == 0) to[all.blank] = T(0) - factor * blanks;
  for (int64_t i = threadIdx.x; i < s.states / 2; i += kThreads) {
    if (!w.first[i]) continue;
    T sum = 0;
    for (int64_t k = i; k >= 0; k = w.following[k]) sum += w.posterior[2 * k + 1];
    to[all.target(s.number, i)] = T(0) - factor * sum;
  }
}

/// `out` is zero before.
template <class T>
__global__ void __launch_bounds__(kThreads, 1) backward(Samples<T> all, Gradient<T> g) {
  __shared__ Two<double> sums[kWarp];
  Sample s;
  if (!s.check(all, blockIdx.x)) return;
  const T loss = g.losses[s.number], scale = g.gradient[s.number];
  if (g.zeroInfinity && std::isinf(loss)) return;
  Work<T> w(g.work, all.states(), s.number);
  w.link(all, s);
  for (int64_t t = s.frames - 1; t >= 0; --t) {
    const T* reached = g.alpha + (s.number * all.frames + t) * all.alphaStep() + cpu::kCtcPadding;
    const T* emission = all.logProbs + all.offset(s.number, t);
    // The states that this frame's lead to are read by all before any is replaced: a tile at a time, from the first,
    // since a state leads to itself and the two after it.
    Two<double> own{0, 0};  // of all states, of the blanks
    for (int64_t tile = 0; tile < s.states; tile += kThreads) {
      const int64_t i = tile + threadIdx.x;
      T beta = kNever<T>;
      if (i < s.states && t == s.frames - 1) beta = i >= s.states - 2 ? T(0) : kNever<T>;
      else if (i < s.states)
        beta = logSumExp(w.onward[i], w.onward[i + 1],
                         i + 2 < s.states && all.skips(s.number, i + 2) ? w.onward[i + 2] : kNever<T>);
      __syncthreads();
      if (i < s.states) {
        const T probability = std::exp(reached[i] + beta + loss);
        w.posterior[i] = probability;
        w.onward[i] = beta + emission[all.label(s.number, i)];
        own = own + Two<double>{double(probability), i % 2 ? 0.0 : double(probability)};
      }
    }
    // Probabilities of all states, but for what rounding did to the large logarithms: a factor common to them.
    const Two<double> sum = mergeBlock(own, sums, Add{});
    collect(all, s, w, T(double(scale) / sum.first), T(sum.second), g.out + all.offset(s.number, t));
    __syncthreads();
  }
}

enum { kLogProbs, kTargets, kInputLengths, kTargetLengths, kLosses, kAlpha, kGradient };

/// The call's inputs in the device's memory, and the samples that they are.
template <class T>
struct Inputs {
  Prepared logProbs, targets, inputLengths, targetLengths;
  explicit Inputs(const Call<ops::CtcLoss>& call)
      : logProbs(call.in[kLogProbs], call.in[kLogProbs].dtype),
        targets(call.in[kTargets], call.in[kTargets].dtype),
        inputLengths(call.in[kInputLengths], call.in[kInputLengths].dtype),
        targetLengths(call.in[kTargetLengths], call.in[kTargetLengths].dtype) {}
  Samples<T> samples(int64_t blank) const {
    const Shape& shape = logProbs.view().shape;
    return {.logProbs = logProbs.view().as<T>(),
            .targets = Integers(targets.view()),
            .inputLengths = Integers(inputLengths.view()),
            .targetLengths = Integers(targetLengths.view()),
            .frames = shape[0],
            .batch = shape[1],
            .classes = shape[2],
            .longest = targets.view().shape[1],
            .blank = blank,
            .sites = {wrongInputLength.number(), wrongTargetLength.number(), wrongTarget.number()},
            .record = current().faults()};
  }
};

template <class F>
void visitWide(DType dtype, F&& f) {
  if (dtype == DType::Float64) f(TypeTag<double>{});
  else f(TypeTag<float>{});
}

void partsCuda(const Call<ops::CtcLoss>& call) {
  const View &losses = call.out[0], &alpha = call.out[1];
  if (losses.size() == 0) return;
  visitWide(losses.dtype, [&]<class T>(TypeTag<T>) {
    const Inputs<T> inputs(call);
    launch(forward<T>, unsigned(losses.size()), kThreads, 0, stream(), inputs.samples(call.attrs.blank), losses.as<T>(),
           alpha.as<T>());
  });
}

void gradCuda(const Call<ops::CtcLoss>& call) {
  const View& out = call.out[0];
  if (out.size() == 0) return;
  fill(out, 0);
  visitWide(out.dtype, [&]<class T>(TypeTag<T>) {
    const Inputs<T> inputs(call);
    const Prepared losses(call.in[kLosses], out.dtype), alpha(call.in[kAlpha], out.dtype),
        gradient(call.in[kGradient], out.dtype);
    const Samples<T> samples = inputs.samples(call.attrs.blank);
    const int64_t states = 2 * samples.longest + 1;
    const Scratch work(size_t(samples.batch * Work<T>::bytes(states)));
    launch(backward<T>, unsigned(samples.batch), kThreads, 0, stream(), samples,
           Gradient<T>{losses.view().as<T>(), alpha.view().as<T>(), gradient.view().as<T>(), out.as<T>(),
                       work.as<std::byte>(), call.attrs.zeroInfinity});
  });
}

const Implement<ops::CtcLoss> partsOnCuda("ctcLossParts", DeviceType::Cuda, partsCuda);
const Implement<ops::CtcLoss> gradOnCuda("ctcLossGrad", DeviceType::Cuda, gradCuda);

}  // namespace
}  // namespace anneal::cuda
