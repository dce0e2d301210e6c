#include "ops/arg.h"

#include "cpu/arg_loops.h"
#include "cpu/elementwise.h"
#include "cpu/parallel.h"
#include "op/infer.h"

namespace anneal::ops {
namespace {

constexpr int64_t kChunk = int64_t(1) << 17;
constexpr int64_t kGrain = 16384;

std::optional<Ints> axesOf(const ArgReduce& attrs) {
  return attrs.axis ? std::optional(Ints{*attrs.axis}) : std::nullopt;
}

Specs inferArg(const Args<ArgReduce>& c) {
  const Shape& shape = c.in[0].shape();
  Ints axes = reductionAxes(c.op, axesOf(c.attrs), shape.rank());
  Shape out = reducedShape(shape, axes, c.attrs.keepDims);
  int64_t n = 1;
  for (int64_t a : axes) n *= shape[int(a)];
  require(n > 0 || out.product() == 0, Code::Shape, c.op, ": ", shape,
          " has no elements to compare; the result would be undefined");
  return {{out, DType::Int64}};
}

/// The input as [outer, n, inner], where the middle axis is searched.
class Search {
 public:
  Search(const View& x, const std::optional<int64_t>& axis, bool largest) : x_(x), compute_(computeType(x.dtype)) {
    loops_ = cpu::argLoops(largest, compute_);
    n_ = x.size();
    if (!axis) return;
    int at = resolveAxis("argmax", *axis, x.shape.rank());
    n_ = x.shape[at];
    for (int i = 0; i < at; ++i) outer_ *= x.shape[i];
    for (int i = at + 1; i < x.shape.rank(); ++i) inner_ *= x.shape[i];
  }

  void run(int64_t* out) {
    if (inner_ > 1) return columns(out);
    if (outer_ < 8 && n_ > 2 * kChunk) {
      for (int64_t i = 0; i < outer_; ++i) out[i] = longRow(i * n_);
      return;
    }
    cpu::parallelFor(outer_, std::max<int64_t>(1, kGrain / n_), [&](int64_t begin, int64_t end) {
      std::vector<double> buffer;
      double found;
      for (int64_t i = begin; i < end; ++i) out[i] = loops_.row(read(i * n_, 1, n_, n_, buffer), n_, &found);
    });
  }

 private:
  void columns(int64_t* out) {
    const int64_t width = x_.dtype == compute_ ? cpu::kArgWidth : std::clamp<int64_t>(kGrain / n_, 16, cpu::kArgWidth);
    const int64_t blocks = (inner_ + width - 1) / width;
    cpu::parallelFor(outer_ * blocks, std::max<int64_t>(1, kGrain / (n_ * std::min(width, inner_))),
                     [&](int64_t begin, int64_t end) {
                       std::vector<double> buffer;
                       for (int64_t i = begin; i < end; ++i) {
                         int64_t first = i % blocks * width, some = std::min(width, inner_ - first), outer = i / blocks;
                         const void* from = read(outer * n_ * inner_ + first, n_, some, inner_, buffer);
                         loops_.columns(from, n_, from == buffer.data() ? some : inner_, some,
                                        out + outer * inner_ + first);
                       }
                     });
  }

  /// A row long enough for several threads: the best of its pieces.
  int64_t longRow(int64_t offset) {
    const int64_t pieces = (n_ + kChunk - 1) / kChunk;
    std::vector<int64_t> places(static_cast<size_t>(pieces));
    std::vector<double> values(static_cast<size_t>(pieces));  // each holds an element of what is computed in
    cpu::parallelFor(pieces, 1, [&](int64_t begin, int64_t end) {
      std::vector<double> buffer;
      for (int64_t i = begin; i < end; ++i) {
        int64_t size = std::min(kChunk, n_ - i * kChunk);
        places[size_t(i)] =
            i * kChunk + loops_.row(read(offset + i * kChunk, 1, size, size, buffer), size, &values[size_t(i)]);
      }
    });
    return visitCompute(compute_, [&]<class T>(TypeTag<T>) {
      std::vector<T> found(static_cast<size_t>(pieces));
      for (size_t i = 0; i < found.size(); ++i) std::memcpy(&found[i], &values[i], sizeof(T));
      return places[size_t(loops_.row(found.data(), pieces, values.data()))];
    });
  }

  /// `rows` rows of `width` elements that are `stride` apart: in place, or converted into the buffer, which has no
  /// gaps.
  const void* read(int64_t offset, int64_t rows, int64_t width, int64_t stride, std::vector<double>& buffer) const {
    const int64_t size = int64_t(itemSize(x_.dtype));
    const std::byte* from = static_cast<const std::byte*>(x_.data()) + offset * size;
    if (x_.dtype == compute_) return from;
    buffer.resize(size_t(rows * width));
    for (int64_t i = 0; i < rows; ++i)
      cpu::gather(x_, from + i * stride * size, 1, compute_,
                  reinterpret_cast<std::byte*>(buffer.data()) + i * width * int64_t(itemSize(compute_)), width);
    return buffer.data();
  }

  const View& x_;
  DType compute_;
  cpu::ArgLoops loops_;
  int64_t outer_ = 1, n_ = 1, inner_ = 1;
};

template <bool Largest>
void argCpu(const Call<ArgReduce>& call) {
  if (call.out[0].size()) Search(call.in[0], call.attrs.axis, Largest).run(call.out[0].as<int64_t>());
}
const Implement<ArgReduce> argmaxOnCpu("argmax", DeviceType::Cpu, argCpu<true>);
const Implement<ArgReduce> argminOnCpu("argmin", DeviceType::Cpu, argCpu<false>);

std::vector<Field> argFields() {
  return {field<&ArgReduce::axis>("axis", "the axis to search; the flattened tensor when absent"),
          field<&ArgReduce::keepDims>("keepDims", "keep the searched axis with size 1")};
}

}  // namespace

const Op<ArgReduce> argmax(
    {.name = "argmax",
     .doc = "The index, as int64, of the largest element along `axis`: the first of equal ones, and the first "
            "NaN if there is one.",
     .inputs = {"x"},
     .attrs = argFields(),
     .infer = inferArg,
     .nonDifferentiable = true});

const Op<ArgReduce> argmin(
    {.name = "argmin",
     .doc = "The index, as int64, of the smallest element along `axis`: the first of equal ones, and the first "
            "NaN if there is one.",
     .inputs = {"x"},
     .attrs = argFields(),
     .infer = inferArg,
     .nonDifferentiable = true});

}  // namespace anneal::ops
