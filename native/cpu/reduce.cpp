#include "cpu/reduce.h"

#include <algorithm>
#include <cmath>

#include "cpu/convert.h"
#include "cpu/elementwise.h"
#include "cpu/parallel.h"

namespace anneal::cpu {
namespace {

constexpr int64_t kTile = int64_t(1) << 16;  // elements that one call of a loop reads
constexpr int64_t kConverted = 8192;         // the same where they are converted first
constexpr int64_t kFewUnits = 32;            // with fewer independent results, each is split further
constexpr int64_t kGrain = 16384;

struct Axis {
  int64_t size = 1, stride = 0, out = 0;  // `out` is 0 for an axis that is reduced
  bool reduced = false;
};

/// The axes in the order of memory, those that follow each other without gaps joined.
std::vector<Axis> joinedAxes(const View& x, const Ints& axes, const Strides& outStrides) {
  std::vector<Axis> all, joined;
  int kept = 0;
  for (int i = 0; i < x.shape.rank(); ++i) {
    bool reduced = std::find(axes.begin(), axes.end(), i) != axes.end();
    int64_t out = reduced ? 0 : outStrides[kept++];
    if (x.shape[i] != 1) all.push_back({x.shape[i], x.strides[i], out, reduced});
  }
  auto distance = [](const Axis& a) { return a.stride == 0 ? INT64_MAX : std::abs(a.stride); };
  std::stable_sort(all.begin(), all.end(), [&](const Axis& a, const Axis& b) { return distance(a) > distance(b); });
  for (const Axis& a : all) {
    if (joined.empty() || joined.back().reduced != a.reduced || joined.back().stride != a.stride * a.size ||
        joined.back().out != a.out * a.size) {
      joined.push_back(a);
    } else {
      joined.back() = {joined.back().size * a.size, a.stride, a.out, a.reduced};
    }
  }
  return joined;
}

/// A reduction as tiles: rows are reduced, columns kept; the axes around them are looped over.
struct Plan {
  Axis rows{.reduced = true}, columns;
  std::vector<Axis> kept, reduced;
  int64_t keptCount = 1, reducedCount = 1;

  explicit Plan(std::vector<Axis> axes) {
    if (!axes.empty() && !axes.back().reduced) {
      columns = axes.back();
      axes.pop_back();
    }
    auto last = std::find_if(axes.rbegin(), axes.rend(), [](const Axis& a) { return a.reduced; });
    if (last != axes.rend()) {
      rows = *last;
      axes.erase(std::next(last).base());
    }
    // Short rows: neighbouring results make the columns, so that vectors still fill.
    if (columns.size == 1 && rows.size < kLeastRow && !axes.empty() && !axes.back().reduced) {
      columns = axes.back();
      axes.pop_back();
    }
    for (const Axis& a : axes) {
      (a.reduced ? reduced : kept).push_back(a);
      (a.reduced ? reducedCount : keptCount) *= a.size;
    }
  }
};

/// The offsets in x and out of the `index`-th element of a loop over `axes`.
std::pair<int64_t, int64_t> offsets(const std::vector<Axis>& axes, int64_t index) {
  int64_t in = 0, out = 0;
  for (auto a = axes.rbegin(); a != axes.rend(); ++a) {
    int64_t i = index;
    if (std::next(a) != axes.rend()) {  // divisions are slow beside short rows
      i = index % a->size;
      index /= a->size;
    }
    in += i * a->stride;
    out += i * a->out;
  }
  return {in, out};
}

void finish(const Reduction& reduction, double* totals, int64_t n) {
  const double number = reduction.number;
  if (reduction.finish == Finish::Scale)
    for (int64_t j = 0; j < n; ++j) totals[j] *= number;
  if (reduction.finish == Finish::ScaledRoot)
    for (int64_t j = 0; j < n; ++j) totals[j] = std::sqrt(totals[j] * number);
  if (reduction.finish == Finish::Power)
    for (int64_t j = 0; j < n; ++j) totals[j] = std::pow(totals[j], number);
}

template <class Acc>
void put(const Acc* totals, int64_t n, const View& out, int64_t at, int64_t stride) {
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    for (int64_t j = 0; j < n; ++j) out.as<T>()[at + j * stride] = convertTo<T>(totals[j]);
  });
}

/// Into how many chunks of its steps each of `units` results is split, of `size` elements each.
int64_t chunksOf(int64_t units, int64_t size, int64_t steps) {
  if (units >= kFewUnits) return 1;
  return std::clamp<int64_t>(size / kTile, 1, std::min<int64_t>(256, std::max<int64_t>(1, steps)));
}

template <class Acc>
class Driver {
 public:
  Driver(const Reduction& reduction, const View& x, const Ints& axes, const View& out, const Strides& outStrides,
         const double* operands)
      : reduction_(reduction), x_(x), out_(out), operands_(operands), plan_(joinedAxes(x, axes, outStrides)) {
    compute_ = DType::Int64;
    if (std::is_same_v<Acc, double>) compute_ = isFloat(x.dtype) ? computeType(x.dtype) : DType::Float64;
    const Reducing loops = reducing(reduction.reducer);
    loop_ = loops.tile.of(compute_);
    rowsLoop_ = loops.rows.of(compute_);
    block_ = std::min(plan_.columns.size, kMaxColumns);
    blocks_ = (plan_.columns.size + block_ - 1) / block_;
    direct_ = x.dtype == compute_ && (plan_.columns.stride == 1 || plan_.columns.size == 1);
    rowStep_ = std::max<int64_t>(1, (direct_ ? kTile : kConverted) / block_);
    rowSteps_ = (plan_.rows.size + rowStep_ - 1) / rowStep_;
    steps_ = plan_.reducedCount * rowSteps_;
    units_ = plan_.keptCount * blocks_;
    unitSize_ = plan_.reducedCount * plan_.rows.size * block_;
  }

  void run() {
    if (manyRows()) return rows();
    const int64_t chunks = chunksOf(units_, unitSize_, steps_);
    if (chunks == 1) return whole();
    std::vector<Acc> totals(size_t(units_ * chunks * block_), initialTotal<Acc>(reduction_.reducer));
    parallelFor(units_ * chunks, std::max<int64_t>(1, kGrain * chunks / unitSize_), [&](int64_t begin, int64_t end) {
      Scratch scratch(direct_);
      for (int64_t i = begin; i < end; ++i)
        unit(i / chunks, steps_ * (i % chunks) / chunks, steps_ * (i % chunks + 1) / chunks,
             &totals[size_t(i * block_)], scratch);
    });
    for (int64_t u = 0; u < units_; ++u) {
      Acc* total = &totals[size_t(u * chunks * block_)];
      for (int64_t c = 1; c < chunks; ++c)
        for (int64_t j = 0; j < block_; ++j)
          total[j] = mergeTotals(reduction_.reducer, total[j], total[c * block_ + j]);
      write(u, total);
    }
  }

 private:
  struct Scratch {
    explicit Scratch(bool direct) : converted(direct ? 0 : size_t(kConverted)) {}
    std::vector<double> converted, operands;
  };

  /// Whether the result is a vector of totals of rows without gaps.
  bool manyRows() const {
    return direct_ && plan_.columns.size == 1 && plan_.rows.stride == 1 && plan_.rows.size <= kMaxRow &&
           plan_.reduced.empty() && plan_.kept.size() == 1 && plan_.kept[0].out == 1;
  }

  void rows() {
    constexpr int64_t kRows = 256;
    const int64_t n = plan_.rows.size, stride = plan_.kept[0].stride;
    const Acc initial = initialTotal<Acc>(reduction_.reducer);
    parallelFor(plan_.keptCount, std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end) {
      Acc totals[kRows];
      for (int64_t count; begin < end; begin += count) {
        count = std::min(kRows, end - begin);
        std::fill(totals, totals + count, initial);
        const std::byte* from = static_cast<const std::byte*>(x_.data()) + begin * stride * int64_t(itemSize(x_.dtype));
        rowsLoop_(from, stride, count, n, operands_ ? operands_ + begin : nullptr, totals);
        store(totals, count, begin, 1);
      }
    });
  }

  void whole() {
    const Acc initial = initialTotal<Acc>(reduction_.reducer);
    parallelFor(units_, std::max<int64_t>(1, kGrain / std::max<int64_t>(unitSize_, 1)),
                [&](int64_t begin, int64_t end) {
                  Scratch scratch(direct_);
                  std::vector<Acc> totals(static_cast<size_t>(block_));
                  for (int64_t u = begin; u < end; ++u) {
                    std::fill(totals.begin(), totals.end(), initial);
                    unit(u, 0, steps_, totals.data(), scratch);
                    write(u, totals.data());
                  }
                });
  }

  int64_t firstColumn(int64_t unit) const { return blocks_ == 1 ? 0 : unit % blocks_ * block_; }
  int64_t keptIndex(int64_t unit) const { return blocks_ == 1 ? unit : unit / blocks_; }
  int64_t width(int64_t unit) const { return std::min(block_, plan_.columns.size - firstColumn(unit)); }

  void unit(int64_t unit, int64_t begin, int64_t end, Acc* totals, Scratch& scratch) {
    const int64_t first = firstColumn(unit), columns = width(unit);
    auto [in, out] = offsets(plan_.kept, keptIndex(unit));
    in += first * plan_.columns.stride;
    const double* operand = nullptr;
    if (operands_) {
      scratch.operands.resize(size_t(columns));
      for (int64_t j = 0; j < columns; ++j)
        scratch.operands[size_t(j)] = operands_[out + (first + j) * plan_.columns.out];
      operand = scratch.operands.data();
    }
    for (int64_t s = begin; s < end; ++s) {
      const int64_t outer = rowSteps_ == 1 ? s : s / rowSteps_, row = (s - outer * rowSteps_) * rowStep_;
      const int64_t at = in + offsets(plan_.reduced, outer).first + row * plan_.rows.stride;
      tile(at, std::min(rowStep_, plan_.rows.size - row), columns, operand, totals, scratch);
    }
  }

  void tile(int64_t at, int64_t rows, int64_t columns, const double* operand, Acc* totals, Scratch& scratch) {
    const std::byte* from = static_cast<const std::byte*>(x_.data()) + at * int64_t(itemSize(x_.dtype));
    if (direct_) return loop_(from, plan_.rows.stride, rows, columns, operand, totals);
    auto* buffer = reinterpret_cast<std::byte*>(scratch.converted.data());
    if (columns == 1) {
      gather(x_, from, plan_.rows.stride, compute_, buffer, rows);
    } else if (plan_.rows.stride == columns * plan_.columns.stride) {
      gather(x_, from, plan_.columns.stride, compute_, buffer, rows * columns);
    } else {
      for (int64_t i = 0; i < rows; ++i)
        gather(x_, from + i * plan_.rows.stride * int64_t(itemSize(x_.dtype)), plan_.columns.stride, compute_,
               buffer + i * columns * int64_t(itemSize(compute_)), columns);
    }
    loop_(buffer, columns, rows, columns, operand, totals);
  }

  void write(int64_t unit, Acc* totals) const {
    const int64_t first = firstColumn(unit), columns = width(unit), stride = plan_.columns.out;
    store(totals, columns, offsets(plan_.kept, keptIndex(unit)).second + first * stride, stride);
  }

  /// Writes n totals from element `at` of the result on.
  void store(Acc* totals, int64_t n, int64_t at, int64_t stride) const {
    if constexpr (std::is_same_v<Acc, double>) finish(reduction_, totals, n);
    put(totals, n, out_, at, stride);
  }

  const Reduction& reduction_;
  const View &x_, &out_;
  const double* operands_;
  Plan plan_;
  DType compute_;
  TileLoop loop_;
  RowsLoop rowsLoop_;
  int64_t block_, blocks_, rowStep_, rowSteps_, steps_, units_, unitSize_;
  bool direct_;
};

}  // namespace

void reduce(const Reduction& reduction, const View& x, const Ints& axes, const View& out, const double* operands) {
  if (out.size() == 0) return;
  Shape kept;
  for (int i = 0; i < x.shape.rank(); ++i)
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) kept.push(x.shape[i]);
  Strides strides = contiguousStrides(kept);
  if (isFloat(x.dtype) || isFloat(out.dtype)) Driver<double>(reduction, x, axes, out, strides, operands).run();
  else Driver<int64_t>(reduction, x, axes, out, strides, operands).run();
}

std::vector<double> reduceToDouble(const Reduction& reduction, const View& x, const Ints& axes,
                                   const double* operands) {
  int64_t n = 1;
  for (int i = 0; i < x.shape.rank(); ++i)
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) n *= x.shape[i];
  std::vector<double> values(static_cast<size_t>(n));
  View out{
      .memory = reinterpret_cast<std::byte*>(values.data()), .shape = {n}, .strides = {1}, .dtype = DType::Float64};
  reduce(reduction, x, axes, out, operands);
  return values;
}

int64_t piecesOf(int64_t rows, int64_t width) { return chunksOf(rows, width, (width + kTile - 1) / kTile); }

std::pair<int64_t, int64_t> pieceOf(int64_t i, int64_t pieces, int64_t width) {
  const int64_t steps = (width + kTile - 1) / kTile;
  return {steps * i / pieces * kTile, std::min(width, steps * (i + 1) / pieces * kTile)};
}

void writeTotals(const Reduction& reduction, double* totals, int64_t n, const View& out, int64_t at) {
  finish(reduction, totals, n);
  put(totals, n, out, at, 1);
}

}  // namespace anneal::cpu
