#include "cpu/elementwise.h"

#include "cpu/convert.h"
#include "cpu/parallel.h"
#include "op/nest.h"

namespace anneal::cpu {
namespace {

constexpr int64_t kTile = 1024;
constexpr int64_t kGrain = 16384;

/// One thread's walk over the nest, row by row of the innermost axis. Rows are cut into tiles where an operand is one
/// that the loop cannot read in place: it is converted into a buffer first.
class Walk {
 public:
  Walk(const Nest& nest, Loop loop, const double* params, DType compute, bool boolResult, std::span<const View> in,
       const View& out)
      : nest_(nest), loop_(loop), params_(params), inputs_(nest.operands - 1) {
    inner_ = nest.shape.rank() - 1;
    for (int i = 0; i < inputs_; ++i) {
      const View& v = in[size_t(i)];
      int64_t stride = nest.strides[size_t(i)][inner_];
      Operand& o = operands_[i];
      o = {static_cast<std::byte*>(v.data()), int64_t(itemSize(v.dtype)), stride, nullptr};
      fixed_[i] = stride == 0;
      if (v.dtype != compute || (stride != 0 && stride != 1)) o.convert = converter(v.dtype, compute);
      buffered_ |= o.convert != nullptr;
    }
    DType result = boolResult ? DType::Bool : compute;
    int64_t stride = nest.strides[size_t(inputs_)][inner_];
    operands_[inputs_] = {static_cast<std::byte*>(out.data()), int64_t(itemSize(out.dtype)), stride, nullptr};
    if (out.dtype != result || stride != 1) operands_[inputs_].convert = converter(result, out.dtype);
    buffered_ |= operands_[inputs_].convert != nullptr;
  }

  void run(int64_t begin, int64_t end) {
    const int64_t width = nest_.shape[inner_];
    int64_t column = begin % width;
    start(begin / width);
    while (begin < end) {
      int64_t n = std::min(end - begin, width - column), step = buffered_ ? kTile : n;
      for (int64_t at = 0; at < n; at += step) tile(column + at, std::min(step, n - at));
      begin += n;
      column = 0;
      if (begin < end) advance();
    }
  }

 private:
  struct Operand {
    std::byte* row = nullptr;  // where its current row begins
    int64_t size = 0, stride = 0;
    Convert convert = nullptr;
  };

  /// Moves to a row, counted over the outer axes.
  void start(int64_t outer) {
    for (int axis = inner_ - 1; axis >= 0; --axis) {
      index_[axis] = outer % nest_.shape[axis];
      outer /= nest_.shape[axis];
      for (int i = 0; i <= inputs_; ++i)
        operands_[i].row += index_[axis] * nest_.strides[size_t(i)][axis] * operands_[i].size;
    }
  }

  void advance() {
    for (int axis = inner_ - 1; axis >= 0; --axis) {
      const bool wraps = ++index_[axis] == nest_.shape[axis];
      const int64_t steps = wraps ? 1 - nest_.shape[axis] : 1;
      for (int i = 0; i <= inputs_; ++i) operands_[i].row += steps * nest_.strides[size_t(i)][axis] * operands_[i].size;
      if (!wraps) return;
      index_[axis] = 0;
    }
  }

  void tile(int64_t column, int64_t n) {
    const void* from[kMaxOperands];
    for (int i = 0; i < inputs_; ++i) {
      const Operand& o = operands_[i];
      from[i] = o.row + column * o.stride * o.size;
      if (o.convert) {
        o.convert(from[i], o.stride, buffers_[i], 1, fixed_[i] ? 1 : n);
        from[i] = buffers_[i];
      }
    }
    const Operand& out = operands_[inputs_];
    std::byte* target = out.row + column * out.stride * out.size;
    void* result = out.convert ? static_cast<void*>(buffers_[kMaxOperands]) : target;
    loop_(from, fixed_, result, n, params_);
    if (out.convert) out.convert(result, 1, target, out.stride, n);
  }

  const Nest& nest_;
  Loop loop_;
  const double* params_;
  int inputs_, inner_;
  bool buffered_ = false;
  bool fixed_[kMaxOperands];
  Operand operands_[kMaxOperands + 1];
  int64_t index_[kMaxRank];
  alignas(64) double buffers_[kMaxOperands + 1][kTile];
};

/// Whether every operand is one run of elements of the loop's own type, or a single one; then `from` and `fixed` say
/// where.
bool direct(DType compute, DType result, std::span<const View> in, const View& out, const std::byte** from,
            bool* fixed) {
  if (out.dtype != result || !out.contiguous()) return false;
  for (size_t i = 0; i < in.size(); ++i) {
    const View& v = in[i];
    fixed[i] = v.size() == 1;
    if (v.dtype != compute || (!fixed[i] && !(v.shape == out.shape && v.contiguous()))) return false;
    from[i] = v.as<std::byte>();
  }
  return true;
}

}  // namespace

void mapTiles(const LoopSet& loops, const double* params, DType compute, std::span<const View> in, const View& out) {
  if (out.size() == 0) return;
  Loop loop = loops.of(compute);
  require(loop != nullptr, Code::Internal, "no loop for ", compute);
  const std::byte* from[kMaxOperands];
  bool fixed[kMaxOperands];
  if (direct(compute, loops.boolResult ? DType::Bool : compute, in, out, from, fixed)) {
    const size_t inSize = itemSize(compute), outSize = itemSize(out.dtype);
    return parallelFor(out.size(), kGrain, [&](int64_t begin, int64_t end) {
      const void* at[kMaxOperands];
      for (size_t i = 0; i < in.size(); ++i) at[i] = from[i] + (fixed[i] ? 0 : size_t(begin) * inSize);
      loop(at, fixed, out.as<std::byte>() + size_t(begin) * outSize, end - begin, params);
    });
  }
  Nest nest(in, out);
  parallelFor(out.size(), kGrain, [&](int64_t begin, int64_t end) {
    Walk(nest, loop, params, compute, loops.boolResult, in, out).run(begin, end);
  });
}

void convertTensor(const View& in, const View& out) {
  if (out.size() == 0) return;
  Nest nest({&in, 1}, out);
  const int inner = nest.shape.rank() - 1;
  const int64_t width = nest.shape[inner];
  const Convert convert = converter(in.dtype, out.dtype);
  const auto place = [&](int operand, int64_t outer) {
    int64_t at = 0;
    for (int axis = inner - 1; axis >= 0; --axis) {
      at += outer % nest.shape[axis] * nest.strides[size_t(operand)][axis];
      outer /= nest.shape[axis];
    }
    return at;
  };
  parallelFor(out.size(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t n; begin < end; begin += n) {
      int64_t column = begin % width, from = nest.strides[0][inner], to = nest.strides[1][inner];
      n = std::min(end - begin, width - column);
      convert(
          static_cast<const std::byte*>(in.data()) +
              (place(0, begin / width) + column * from) * int64_t(itemSize(in.dtype)),
          from,
          static_cast<std::byte*>(out.data()) + (place(1, begin / width) + column * to) * int64_t(itemSize(out.dtype)),
          to, n);
    }
  });
}

}  // namespace anneal::cpu
