// What attention's forward and backward passes share, compiled once for each instruction set.
#if defined(ANNEAL_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_ATTENTION_INL_H_
#undef ANNEAL_CPU_ATTENTION_INL_H_
#else
#define ANNEAL_CPU_ATTENTION_INL_H_
#endif

#include <limits>

#include "cpu/attention.h"
#include "cpu/gemm-inl.h"
#include "cpu/schedule.h"
#include "cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

constexpr int kPanel = kColumns<float>;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

/// e^x by 2^n and a polynomial on [-ln 2 / 2, ln 2 / 2]: within 2 units in the last place; 0 below the normal numbers.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V expOf(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
  V r = hn::MulAdd(n, hn::Set(d, -0.693359375f), x);
  r = hn::MulAdd(n, hn::Set(d, 2.12194440e-4f), r);
  V p = hn::Set(d, 1.0f / 5040);
  for (float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) p = hn::MulAdd(p, r, hn::Set(d, c));
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, hn::Min(n, hn::Set(d, 127.0f))), hn::Set(di, 127)));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.3f)), hn::Mul(p, hn::BitCast(d, power)));
}

/// x = e^(x - shift) over a row; gives the sum.
inline float expRow(float* x, int64_t n, float shift) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  constexpr int L = kLanes<float>;
  auto sum = hn::Zero(d);
  const auto by = hn::Set(d, shift);
  int64_t i = 0;
  for (; i + L <= n; i += L) {
    auto e = expOf(d, hn::Sub(hn::LoadU(d, x + i), by));
    hn::StoreU(e, d, x + i);
    sum = hn::Add(sum, e);
  }
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < n; ++i) {
    x[i] = hn::GetLane(expOf(one, hn::Set(one, x[i] - shift)));
    total += x[i];
  }
  return total;
}

inline float maxRow(const float* x, int64_t n) {
  const hn::ScalableTag<float> d;
  constexpr int L = kLanes<float>;
  auto most = hn::Set(d, kNothing);
  int64_t i = 0;
  for (; i + L <= n; i += L) most = hn::Max(most, hn::LoadU(d, x + i));
  float result = hn::GetLane(hn::MaxOfLanes(d, most));
  for (; i < n; ++i) result = std::max(result, x[i]);
  return result;
}

/// One head's matrix [rows, columns] within a tensor.
struct Head {
  const float* data;
  int64_t row, column;
  const float* at(int64_t i) const { return data + i * row; }
};

inline Head headOf(const View& x, int64_t batch, int64_t head) {
  return {x.as<const float>() + batch * x.strides[0] + head * x.strides[1], x.strides[2], x.strides[3]};
}

/// The same, to be written; contiguous along the columns.
struct ResultHead {
  float* data;
  int64_t row;
  float* at(int64_t i) const { return data + i * row; }
};

inline ResultHead resultHeadOf(const View& x, int64_t batch, int64_t head) {
  return {x.as<float>() + batch * x.strides[0] + head * x.strides[1], x.strides[2]};
}

/// Panels of the rows [from, to) as columns: for products with the transposed matrix of `depth` columns.
inline void packTransposed(const Head& x, int64_t from, int64_t to, int64_t depth, float* out) {
  for (int64_t t = from; t < to; t += kPanel, out += kPanel * depth)
    packPanel<kPanel>(x.at(t), x.column, x.row, depth, std::min<int64_t>(kPanel, to - t), out);
}

/// Panels of the rows [from, to) as they are: for products with the matrix of `width` columns.
inline void packRows(const Head& x, int64_t from, int64_t to, int64_t width, float* out) {
  for (int64_t j = 0; j < width; j += kPanel, out += kPanel * (to - from))
    packPanel<kPanel>(x.at(from) + j * x.column, x.row, x.column, to - from, std::min<int64_t>(kPanel, width - j), out);
}

/// C = alpha A B + beta C, of A [m, k] in place and B in panels of n columns in all.
inline void byPanels(int64_t m, int64_t n, int64_t k, const Head& a, const float* panels, float* c, int64_t ldc,
                     float alpha, float beta) {
  for (int64_t j = 0; j < n; j += kPanel)
    rowsByPanel<float>(m, k, a.data, a.row, a.column, panels + j * k, kPanel, std::min<int64_t>(kPanel, n - j),
                       Result<float>{c + j, ldc, alpha, beta});
}

inline int64_t padded(int64_t n) { return ceilDiv(n, kPanel) * kPanel; }

/// The mask of one head; knows which tiles it leaves.
class Masked {
 public:
  Masked(const Attention& a, int64_t batch, int64_t head) : causal_(a.causal) {
    if (!a.mask.defined) return;
    Strides s =
        broadcastStrides(a.mask.shape, a.mask.strides, {a.q.shape[0], a.q.shape[1], a.q.shape[2], a.k.shape[2]});
    int64_t at = batch * s[0] + head * s[1];
    row_ = s[2], column_ = s[3];
    if (a.mask.dtype == DType::Bool) allowed_ = a.mask.as<const bool>() + at;
    else added_ = a.mask.as<const float>() + at;
  }

  /// The number of keys in [key, key + count) that queries before `lastQuery` may see.
  int64_t visible(int64_t key, int64_t count, int64_t lastQuery) const {
    return causal_ ? std::clamp<int64_t>(lastQuery - key, 0, count) : count;
  }

  /// Masks the scores of `query` with keys [key, key + count).
  void apply(float* scores, int64_t query, int64_t key, int64_t count) const {
    if (causal_)
      for (int64_t j = std::max<int64_t>(0, query + 1 - key); j < count; ++j) scores[j] = kNothing;
    if (allowed_ != nullptr) {
      const bool* allowed = allowed_ + query * row_ + key * column_;
      for (int64_t j = 0; j < count; ++j) scores[j] = allowed[j * column_] ? scores[j] : kNothing;
    }
    if (added_) {
      const float* added = added_ + query * row_ + key * column_;
      for (int64_t j = 0; j < count; ++j) scores[j] += added[j * column_];
    }
  }

 private:
  bool causal_;
  const bool* allowed_ = nullptr;
  const float* added_ = nullptr;
  int64_t row_ = 0, column_ = 0;
};

/// Dropout of one head's weights, of up to `Most` keys at a time.
template <int64_t Most>
class Dropped {
 public:
  Dropped(const Attention& a, int64_t batch, int64_t head)
      : dropout_(a.dropout), keys_(a.k.shape[2]), first_((batch * a.q.shape[1] + head) * a.q.shape[2] * keys_) {}

  explicit operator bool() const { return dropout_.has_value(); }
  /// To be called before keep(): what becomes of the weights of `query` with keys [key, key + count).
  void draw(int64_t query, int64_t key, int64_t count) {
    const int64_t at = first_ + query * keys_ + key, whole = at / 4 * 4;
    skip_ = at - whole;
    randomWords(dropout_->key, 0, whole, (skip_ + count + 3) / 4 * 4, words_);
  }
  /// Drops from what belongs to these weights.
  void keep(float* HWY_RESTRICT x, int64_t count) const {
    const uint32_t* HWY_RESTRICT words = words_ + skip_;
    const uint32_t bound = dropout_->bound;
    const float scale = dropout_->scale;
    for (int64_t j = 0; j < count; ++j) x[j] = words[j] >= bound ? x[j] * scale : 0.0f;
  }

 private:
  std::optional<AttentionDropout> dropout_;
  int64_t keys_, first_, skip_ = 0;
  uint32_t words_[Most + 8];
};

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
