#include "cpu/softmax.h"

#include "cpu/elementwise.h"
#include "cpu/parallel.h"
#include "cpu/softmax_loops.h"

namespace anneal::cpu {
namespace {

constexpr int64_t kGrain = 8192;
constexpr int64_t kConverted = 8192;  // elements converted at a time, where a row is not longer

std::byte* at(const View& v, int64_t element) {
  return v.defined ? static_cast<std::byte*>(v.data()) + element * int64_t(itemSize(v.dtype)) : nullptr;
}

/// One thread's buffers, for views whose dtype is not what is computed in.
class Converter {
 public:
  Converter(const View& a, const View& b, const View& out, DType compute) : views_{&a, &b, &out}, compute_(compute) {}
  bool direct() const { return views_[0]->dtype == compute_; }

  /// Calls `f(a, b, out)` on converted pieces: `count` runs of `length` elements that start `step` after each other.
  template <class F>
  void run(int64_t offset, int64_t count, int64_t length, int64_t step, F&& f) {
    if (step == length) length *= count, count = 1;
    for (auto& b : buffers_) b.resize(size_t(count * length));
    for (size_t v = 0; v < 2; ++v) {
      if (!views_[v]->defined) continue;
      for (int64_t i = 0; i < count; ++i)
        gather(*views_[v], at(*views_[v], offset + i * step), 1, compute_, buffers_[v].data() + i * length, length);
    }
    f(buffers_[0].data(), buffers_[1].data(), buffers_[2].data());
    for (int64_t i = 0; i < count; ++i)
      scatter(buffers_[2].data() + i * length, compute_, *views_[2], at(*views_[2], offset + i * step), 1, length);
  }

 private:
  std::array<const View*, 3> views_;
  DType compute_;
  std::array<std::vector<float>, 3> buffers_;
};

}  // namespace

void softmax(SoftmaxKind kind, const View& a, const View& b, int axis, const View& out) {
  const int64_t n = a.shape.rank() ? a.shape[axis] : 1;
  int64_t inner = 1;
  for (int i = axis + 1; i < a.shape.rank(); ++i) inner *= a.shape[i];
  if (a.size() == 0) return;
  const int64_t outer = a.size() / n / inner;
  const DType compute = computeType(a.dtype);
  const SoftmaxLoops loops = softmaxLoops(kind, compute);
  const int64_t width = inner == 1 ? std::max<int64_t>(1, kConverted / n) : std::min(inner, kSoftmaxWidth);
  const int64_t blocks = inner == 1 ? (outer + width - 1) / width : outer * ((inner + width - 1) / width);
  // Several rows, or some neighbouring columns, make a block.
  parallelFor(blocks, std::max<int64_t>(1, kGrain / (n * width)), [&](int64_t begin, int64_t end) {
    Converter convert(a, b, out, compute);
    for (int64_t i = begin; i < end; ++i) {
      if (inner == 1) {
        int64_t first = i * width, rows = std::min(width, outer - first);
        if (convert.direct()) loops.rows(at(a, first * n), at(b, first * n), at(out, first * n), rows, n);
        else
          convert.run(first * n, 1, rows * n, rows * n,
                      [&](auto* x, auto* y, auto* to) { loops.rows(x, y, to, rows, n); });
      } else {
        int64_t perOuter = (inner + width - 1) / width, first = i % perOuter * width,
                columns = std::min(width, inner - first);
        int64_t offset = i / perOuter * n * inner + first;
        if (convert.direct()) loops.columns(at(a, offset), at(b, offset), at(out, offset), n, inner, columns);
        else
          convert.run(offset, n, columns, inner,
                      [&](auto* x, auto* y, auto* to) { loops.columns(x, y, to, n, columns, columns); });
      }
    }
  });
}

}  // namespace anneal::cpu
