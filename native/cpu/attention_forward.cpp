#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/attention_forward.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace forward {

// A tile of scores (96 KB) and the keys and values it takes fit into the second-level cache.
constexpr int64_t kQueries = 96, kKeys = 256;

/// Queries [begin, end) of one head.
class Queries {
 public:
  Queries(const Attention& a, int64_t batch, int64_t head, const View& out, float* logSumExp)
      : masked_(a, batch, head),
        dropped_(a, batch, head),
        keys_(a.k.shape[2]),
        depth_(a.q.shape[3]),
        width_(a.v.shape[3]),
        scale_(a.scale) {
    int64_t shared = head / (a.q.shape[1] / a.k.shape[1]), index = (batch * a.q.shape[1] + head) * a.q.shape[2];
    q_ = headOf(a.q, batch, head);
    k_ = headOf(a.k, batch, shared);
    v_ = headOf(a.v, batch, shared);
    out_ = resultHeadOf(out, batch, head);
    logSumExp_ = logSumExp + index;
    packedK_ = workspace<float>(Purpose::PackedA, size_t(padded(keys_) * depth_));
    packedV_ = workspace<float>(Purpose::PackedB, size_t(keys_ * padded(width_)));
    scores_ = workspace<float>(Purpose::Scores, size_t(kQueries * kKeys));
    sums_ = workspace<float>(Purpose::Partial, size_t(kQueries * width_));
  }

  void run(int64_t begin, int64_t end) {
    int64_t seen = masked_.visible(0, keys_, end);
    packTransposed(k_, 0, seen, depth_, packedK_);
    for (int64_t key = 0; key < seen; key += kKeys)
      packRows(v_, key, std::min(key + kKeys, seen), width_, packedV_ + key * padded(width_));
    for (int64_t query = begin; query < end; query += kQueries) block(query, std::min(kQueries, end - query), seen);
  }

 private:
  /// `limit`: the number of keys that are packed.
  void block(int64_t query, int64_t rows, int64_t limit) {
    std::fill_n(sums_, rows * width_, 0.0f);
    std::fill(most_, most_ + rows, kNothing);
    std::fill(sum_, sum_ + rows, 0.0f);
    for (int64_t key = 0; key < limit; key += kKeys) {
      int64_t packed = std::min(kKeys, limit - key), count = masked_.visible(key, packed, query + rows);
      if (count == 0) break;
      byPanels(rows, count, depth_, {q_.at(query), q_.row, q_.column}, packedK_ + key * depth_, scores_, kKeys, scale_,
               0);
      for (int64_t i = 0; i < rows; ++i) row(i, query + i, key, count, sums_ + i * width_);
      addValues(rows, count, packed, packedV_ + key * padded(width_));
    }
    for (int64_t i = 0; i < rows; ++i) {
      bool nothing = most_[i] == kNothing && sum_[i] == 0;
      float factor = nothing ? 0 : 1 / sum_[i];
      float* HWY_RESTRICT out = out_.at(query + i);
      for (int64_t j = 0; j < width_; ++j) out[j] = sums_[i * width_ + j] * factor;
      logSumExp_[query + i] = nothing ? -kNothing : most_[i] + std::log(sum_[i]);
    }
  }

  /// Scores become weights relative to the largest one so far; what was summed before is rescaled to it.
  void row(int64_t i, int64_t query, int64_t key, int64_t count, float* sums) {
    float* scores = scores_ + i * kKeys;
    masked_.apply(scores, query, key, count);
    float most = std::max(most_[i], maxRow(scores, count));
    float shift = most == kNothing ? 0 : most;  // a row with nothing but masked scores, or NaN
    float before = std::exp(most_[i] - shift);
    sum_[i] = sum_[i] * before + expRow(scores, count, shift);
    if (dropped_) {
      dropped_.draw(query, key, count);
      dropped_.keep(scores, count);
    }
    if (before != 1)
      for (int64_t j = 0; j < width_; ++j) sums[j] *= before;
    most_[i] = most;
  }

  void addValues(int64_t rows, int64_t count, int64_t packed, const float* values) {
    for (int64_t j = 0; j < width_; j += kPanel)
      rowsByPanel<float>(rows, count, scores_, kKeys, 1, values + j * packed, kPanel,
                         std::min<int64_t>(kPanel, width_ - j), Result<float>{sums_ + j, width_, 1, 1});
  }

  Masked masked_;
  Dropped<kKeys> dropped_;
  int64_t keys_, depth_, width_;
  float scale_;
  Head q_, k_, v_;
  ResultHead out_;
  float *logSumExp_, *packedK_, *packedV_, *scores_, *sums_;  // sums: rows of the result, side by side
  float most_[kQueries], sum_[kQueries];
};

void run(const Attention& a, const View& out, float* logSumExp) {
  int64_t heads = a.q.shape[0] * a.q.shape[1], queries = a.q.shape[2];
  if (heads == 0 || queries == 0) return;
  int64_t blocks = ceilDiv(queries, kQueries);
  // Few heads are shared by several threads, each of which packs the keys again.
  int64_t groups = std::clamp<int64_t>(ceilDiv(2 * threads(), heads), 1, blocks),
          step = ceilDiv(blocks, groups) * kQueries;
  groups = ceilDiv(queries, step);
  parallelTasks(heads * groups, [&](int64_t task) {
    int64_t head = task / groups,
            begin = (groups - 1 - task % groups) * step;  // with a causal mask the last are the longest
    Queries(a, head / a.q.shape[1], head % a.q.shape[1], out, logSumExp).run(begin, std::min(queries, begin + step));
  });
}

}  // namespace forward
void attentionForwardAt(const Attention& a, const View& out, float* logSumExp) { forward::run(a, out, logSumExp); }
}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(attentionForwardAt);
void attentionForward(const Attention& a, const View& out, float* logSumExp) {
  HWY_DYNAMIC_DISPATCH(attentionForwardAt)(a, out, logSumExp);
}
}  // namespace anneal::cpu
#endif
