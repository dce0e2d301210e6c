#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/attention_backward.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace backward {

// Two tiles of this size and the packed rows that they meet fit into the second-level cache.
constexpr int64_t kQueries = 96, kKeys = 128;

struct Tensors {
  const Attention& a;
  const View& out;
  const float* logSumExp;
  const View &grad, &dq, &dk, &dv;
};

/// What a task computes: the gradients of keys and values in a range of keys, of queries in a range of queries, or
/// both.
struct Range {
  int64_t keyBegin, keyEnd, queryBegin, queryEnd;
  bool toQueries, toKeys;
};

/// One head of queries against its keys. Weights are computed again from the scores and their log-sum-exp.
class HeadGradient {
 public:
  /// With `adds` those of keys and values are added to what is there.
  HeadGradient(const Tensors& t, int64_t batch, int64_t head, const Range& range, bool adds)
      : range_(range),
        adds_(adds),
        masked_(t.a, batch, head),
        dropped_(t.a, batch, head),
        depth_(t.a.q.shape[3]),
        width_(t.a.v.shape[3]),
        scale_(t.a.scale) {
    int64_t shared = head / (t.a.q.shape[1] / t.a.k.shape[1]);
    q_ = headOf(t.a.q, batch, head);
    k_ = headOf(t.a.k, batch, shared);
    v_ = headOf(t.a.v, batch, shared);
    grad_ = headOf(t.grad, batch, head);
    out_ = headOf(t.out, batch, head);
    logSumExp_ = t.logSumExp + (batch * t.a.q.shape[1] + head) * t.a.q.shape[2];
    dq_ = resultHeadOf(t.dq, batch, head);
    dk_ = resultHeadOf(t.dk, batch, shared);
    dv_ = resultHeadOf(t.dv, batch, shared);
  }

  void run() {
    reserve();
    for (int64_t i = range_.queryBegin; i < range_.queryEnd; i += kQueries) {
      int64_t end = std::min(i + kQueries, range_.queryEnd), at = i - range_.queryBegin;
      if (range_.toKeys) packRows(q_, i, end, depth_, packedQ_ + at * padded(depth_));
      if (range_.toKeys) packRows(grad_, i, end, width_, packedGrad_ + at * padded(width_));
      for (int64_t r = i; r < end; ++r) delta_[r - range_.queryBegin] = dot(width_, grad_.at(r), out_.at(r));
    }
    for (int64_t key = range_.keyBegin; key < range_.keyEnd; key += kKeys)
      keyBlock(key, std::min(kKeys, range_.keyEnd - key));
    if (range_.toQueries) store(toQueries_, range_.queryEnd - range_.queryBegin, depth_, dq_, range_.queryBegin, false);
  }

 private:
  void reserve() {
    int64_t queries = range_.queryEnd - range_.queryBegin;
    packedQ_ = workspace<float>(Purpose::PackedA, size_t(queries * (padded(depth_) + padded(width_) + 1)));
    packedGrad_ = packedQ_ + queries * padded(depth_);
    delta_ = packedGrad_ + queries * padded(width_);
    packedK_ = workspace<float>(Purpose::PackedB, size_t(padded(kKeys) * (depth_ + width_) + kKeys * padded(depth_)));
    packedV_ = packedK_ + padded(kKeys) * depth_;
    rowsOfK_ = packedV_ + padded(kKeys) * width_;
    weights_ = workspace<float>(Purpose::Scores, size_t(2 * kQueries * kKeys));
    slopes_ = weights_ + kQueries * kKeys;
    toQueries_ = workspace<float>(Purpose::Result, size_t(queries * depth_));
    if (range_.toQueries) std::fill_n(toQueries_, queries * depth_, 0.0f);
    toKeys_ = workspace<float>(Purpose::Partial, size_t(kKeys * (depth_ + width_)));
    toValues_ = toKeys_ + kKeys * depth_;
  }

  void keyBlock(int64_t key, int64_t count) {
    packTransposed(k_, key, key + count, depth_, packedK_);
    packTransposed(v_, key, key + count, width_, packedV_);
    if (range_.toQueries) packRows(k_, key, key + count, depth_, rowsOfK_);
    if (range_.toKeys) std::fill_n(toKeys_, kKeys * (depth_ + width_), 0.0f);
    for (int64_t query = range_.queryBegin; query < range_.queryEnd; query += kQueries) {
      int64_t rows = std::min(kQueries, range_.queryEnd - query), seen = masked_.visible(key, count, query + rows);
      if (seen) tile(query, rows, key, seen, count);
    }
    if (!range_.toKeys) return;
    store(toKeys_, count, depth_, dk_, key, adds_);
    store(toValues_, count, width_, dv_, key, adds_);
  }

  /// Sums lie side by side while they are made: rows of many heads are too far apart for a cache's sets.
  static void store(const float* HWY_RESTRICT sums, int64_t rows, int64_t width, const ResultHead& to, int64_t first,
                    bool add) {
    for (int64_t i = 0; i < rows; ++i, sums += width) {
      float* HWY_RESTRICT row = to.at(first + i);
      if (add)
        for (int64_t j = 0; j < width; ++j) row[j] += sums[j];
      else std::copy_n(sums, width, row);
    }
  }

  void tile(int64_t query, int64_t rows, int64_t key, int64_t seen, int64_t packed) {
    byPanels(rows, seen, depth_, {q_.at(query), q_.row, q_.column}, packedK_, weights_, kKeys, scale_, 0);
    byPanels(rows, seen, width_, {grad_.at(query), grad_.row, 1}, packedV_, slopes_, kKeys, 1, 0);
    for (int64_t i = 0; i < rows; ++i) {
      float *weights = weights_ + i * kKeys, *slopes = slopes_ + i * kKeys,
            delta = delta_[query + i - range_.queryBegin];
      masked_.apply(weights, query + i, key, seen);
      expRow(weights, seen, logSumExp_[query + i]);
      if (dropped_) {
        dropped_.draw(query + i, key, seen);
        dropped_.keep(slopes, seen);
      }
      for (int64_t j = 0; j < seen; ++j) slopes[j] = scale_ * weights[j] * (slopes[j] - delta);
      if (dropped_) dropped_.keep(weights, seen);
    }
    if (range_.toKeys) {
      int64_t at = query - range_.queryBegin;
      byPanels(seen, width_, rows, {weights_, 1, kKeys}, packedGrad_ + at * padded(width_), toValues_, width_, 1, 1);
      byPanels(seen, depth_, rows, {slopes_, 1, kKeys}, packedQ_ + at * padded(depth_), toKeys_, depth_, 1, 1);
    }
    if (range_.toQueries) {
      for (int64_t j = 0; j < depth_; j += kPanel)
        rowsByPanel<float>(rows, seen, slopes_, kKeys, 1, rowsOfK_ + j * packed, kPanel,
                           std::min<int64_t>(kPanel, depth_ - j),
                           Result<float>{toQueries_ + (query - range_.queryBegin) * depth_ + j, depth_, 1, 1});
    }
  }

  Range range_;
  bool adds_;
  Masked masked_;
  Dropped<kKeys> dropped_;
  int64_t depth_, width_;
  float scale_;
  Head q_, k_, v_, grad_, out_;
  ResultHead dq_, dk_, dv_;
  const float* logSumExp_;
  float *toQueries_, *toKeys_, *toValues_;
  float *packedQ_, *packedGrad_, *delta_, *packedK_, *packedV_, *rowsOfK_, *weights_, *slopes_;
};

/// One range of one head of keys, with all heads of queries that share it.
void task(const Tensors& t, int64_t batch, int64_t shared, const Range& range) {
  const Attention& a = t.a;
  const int64_t group = a.q.shape[1] / a.k.shape[1];
  for (int64_t head = shared * group; head < (shared + 1) * group; ++head) {
    HeadGradient(t, batch, head, range, head > shared * group).run();
  }
}

/// Where there are fewer heads than threads, ranges of keys are tasks, then ranges of queries: sums need no locks, and
/// their order does not depend on the threads' timing.
void run(const Tensors& t) {
  const Attention& a = t.a;
  int64_t heads = a.k.shape[0] * a.k.shape[1], queries = a.q.shape[2], keys = a.k.shape[2], threadCount = threads();
  auto pass = [&](int64_t groups, int64_t size, int64_t block, auto&& rangeOf) {
    int64_t step = ceilDiv(ceilDiv(size, block), groups) * block;
    if (step == 0) step = block;
    groups = std::max<int64_t>(1, ceilDiv(size, step));
    parallelTasks(heads * groups, [&](int64_t i) {
      int64_t head = i / groups, begin = i % groups * step;
      task(t, head / a.k.shape[1], head % a.k.shape[1], rangeOf(begin, std::min(size, begin + step)));
    });
  };
  if (heads >= threadCount) {
    pass(1, keys, kKeys, [&](int64_t, int64_t) { return Range{0, keys, 0, queries, true, true}; });
  } else {
    int64_t groups = ceilDiv(2 * threadCount, std::max<int64_t>(heads, 1));
    pass(groups, keys, kKeys, [&](int64_t begin, int64_t end) { return Range{begin, end, 0, queries, false, true}; });
    pass(groups, queries, kQueries,
         [&](int64_t begin, int64_t end) { return Range{0, keys, begin, end, true, false}; });
  }
}

}  // namespace backward
void attentionBackwardAt(const Attention& a, const View& out, const float* logSumExp, const View& grad, const View& dq,
                         const View& dk, const View& dv) {
  backward::run({a, out, logSumExp, grad, dq, dk, dv});
}
}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(attentionBackwardAt);
void attentionBackward(const Attention& a, const View& out, const float* logSumExp, const View& grad, const View& dq,
                       const View& dk, const View& dv) {
  HWY_DYNAMIC_DISPATCH(attentionBackwardAt)(a, out, logSumExp, grad, dq, dk, dv);
}
}  // namespace anneal::cpu
#endif
