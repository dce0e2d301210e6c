#include "cpu/elementwise.h"

#include "cpu/convert.h"
#include "cpu/parallel.h"

namespace anneal::cpu {
namespace {

constexpr int64_t kTile = 1024;
constexpr int64_t kGrain = 16384;

/// The loop nest over the output after joining axes that are contiguous with each other in every operand.
struct Nest {
  int operands;
  Shape shape;
  std::array<Strides, kMaxOperands + 1> strides;

  Nest(std::span<const View> in, const View& out) : operands(int(in.size()) + 1) {
    std::array<Strides, kMaxOperands + 1> full;
    for (size_t i = 0; i < in.size(); ++i) full[i] = broadcastStrides(in[i].shape, in[i].strides, out.shape);
    full[in.size()] = out.strides;
    for (int axis = 0; axis < out.shape.rank(); ++axis) {
      if (out.shape[axis] == 1) continue;
      if (shape.rank() && joins(full, axis, out.shape[axis])) continue;
      shape.push(out.shape[axis]);
      for (int i = 0; i < operands; ++i) strides[size_t(i)].push(full[size_t(i)][axis]);
    }
    if (shape.rank() == 0) {
      shape.push(out.shape.product());
      for (int i = 0; i < operands; ++i) strides[size_t(i)].push(1);
    }
  }

 private:
  bool joins(const std::array<Strides, kMaxOperands + 1>& full, int axis, int64_t size) {
    int last = shape.rank() - 1;
    for (int i = 0; i < operands; ++i)
      if (strides[size_t(i)][last] != full[size_t(i)][axis] * size) return false;
    shape[last] *= size;
    for (int i = 0; i < operands; ++i) strides[size_t(i)][last] = full[size_t(i)][axis];
    return true;
  }
};

/// One thread's walk over the nest: each inner run is cut into tiles; operands that the loop cannot read in place are
/// converted into buffers first.
class Walk {
 public:
  Walk(const Nest& nest, Loop loop, const double* params, DType compute, bool boolResult, std::span<const View> in,
       const View& out)
      : nest_(nest), loop_(loop), params_(params), compute_(compute), result_(boolResult ? DType::Bool : compute), in_(in), out_(out) {
    inner_ = nest.shape.rank() - 1;
  }

  void run(int64_t begin, int64_t end) {
    int64_t width = nest_.shape[inner_];
    while (begin < end) {
      int64_t column = begin % width;
      int64_t n = std::min({end - begin, width - column, kTile * 64});
      row(begin / width, column, n);
      begin += n;
    }
  }

 private:
  int64_t offset(int operand, int64_t outer, int64_t column) const {
    const Strides& s = nest_.strides[size_t(operand)];
    int64_t at = column * s[inner_];
    for (int axis = inner_ - 1; axis >= 0; --axis) {
      at += outer % nest_.shape[axis] * s[axis];
      outer /= nest_.shape[axis];
    }
    return at;
  }

  void row(int64_t outer, int64_t column, int64_t n) {
    const int inputs = nest_.operands - 1;
    const std::byte* base[kMaxOperands];
    for (int i = 0; i < inputs; ++i)
      base[i] = static_cast<const std::byte*>(in_[size_t(i)].data()) +
                offset(i, outer, column) * int64_t(itemSize(in_[size_t(i)].dtype));
    std::byte* target = static_cast<std::byte*>(out_.data()) + offset(inputs, outer, column) * int64_t(itemSize(out_.dtype));
    int64_t outStride = nest_.strides[size_t(inputs)][inner_];
    const bool direct = out_.dtype == result_ && (outStride == 1 || n == 1);
    bool buffered = !direct;
    for (int i = 0; i < inputs; ++i) buffered |= in_[size_t(i)].dtype != compute_ || nest_.strides[size_t(i)][inner_] > 1 || nest_.strides[size_t(i)][inner_] < 0;
    int64_t step = buffered ? kTile : n;
    for (int64_t at = 0; at < n; at += step) tile(base, target, at, std::min(step, n - at), direct, outStride);
  }

  void tile(const std::byte* const* base, std::byte* target, int64_t at, int64_t n, bool direct, int64_t outStride) {
    const int inputs = nest_.operands - 1;
    const void* operands[kMaxOperands];
    bool fixed[kMaxOperands];
    for (int i = 0; i < inputs; ++i) {
      const View& v = in_[size_t(i)];
      int64_t stride = nest_.strides[size_t(i)][inner_];
      const std::byte* from = base[i] + at * stride * int64_t(itemSize(v.dtype));
      fixed[i] = stride == 0;
      if (v.dtype == compute_ && (stride == 1 || stride == 0)) {
        operands[i] = from;
      } else {
        gather(v, from, stride, compute_, buffers_[i], fixed[i] ? 1 : n);
        operands[i] = buffers_[i];
      }
    }
    void* result = direct ? target + at * int64_t(itemSize(out_.dtype)) : static_cast<void*>(buffers_[kMaxOperands]);
    loop_(operands, fixed, result, n, params_);
    if (!direct) scatter(result, result_, out_, target + at * outStride * int64_t(itemSize(out_.dtype)), outStride, n);
  }

  const Nest& nest_;
  Loop loop_;
  const double* params_;
  DType compute_, result_;
  std::span<const View> in_;
  const View& out_;
  int inner_;
  alignas(64) double buffers_[kMaxOperands + 1][kTile];
};

}  // namespace

void gather(const View& from, const std::byte* at, int64_t stride, DType to, void* out, int64_t n) {
  visitType(from.dtype, [&]<class S>(TypeTag<S>) {
    visitCompute(to, [&]<class T>(TypeTag<T>) { convertStrided(reinterpret_cast<const S*>(at), stride, static_cast<T*>(out), 1, n); });
  });
}

void scatter(const void* in, DType from, const View& to, std::byte* at, int64_t stride, int64_t n) {
  visitType(to.dtype, [&]<class T>(TypeTag<T>) {
    if (from == DType::Bool) return convertStrided(static_cast<const bool*>(in), 1, reinterpret_cast<T*>(at), stride, n);
    visitCompute(from, [&]<class S>(TypeTag<S>) { convertStrided(static_cast<const S*>(in), 1, reinterpret_cast<T*>(at), stride, n); });
  });
}

void mapTiles(const LoopSet& loops, const double* params, DType compute, std::span<const View> in, const View& out) {
  if (out.size() == 0) return;
  Loop loop = loops.of(compute);
  require(loop != nullptr, Code::Internal, "no loop for ", compute);
  Nest nest(in, out);
  parallelFor(out.size(), kGrain, [&](int64_t begin, int64_t end) {
    Walk(nest, loop, params, compute, loops.boolResult, in, out).run(begin, end);
  });
}

}  // namespace anneal::cpu
