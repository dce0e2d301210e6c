// Attention without keeping the scores, after Dao et al., "FlashAttention" (2022), and its gradients.
#include "ops/attention.h"

#include <deque>

#include "attention.cuh"
#include "copy.h"
#include "device.h"
#include "flash.h"

namespace anneal::cuda {
namespace {

constexpr int kTile = kAttentionTile, kThreads = kAttentionThreads;

/// A tile of 64 queries of one head, for 16 N columns of the result.
template <int N>
__global__ void __launch_bounds__(kThreads, 2) flashForward(FlashSizes s, ResultHeads<float> out, float* logSumExp) {
  __shared__ AttentionShared shared;
  const int tiles = (s.q.rows + kTile - 1) / kTile, index = int(blockIdx.x) / tiles;
  // With a causal mask the last tiles take longest: they come first.
  const int query = (tiles - 1 - int(blockIdx.x) % tiles) * kTile, column = int(blockIdx.y) * 16 * N;
  const int batch = index / s.q.heads, head = index % s.q.heads;
  const HeadMatrix q = s.q.head(batch, head), k = s.k.head(batch, head / s.group), v = s.v.head(batch, head / s.group);
  const int x = int(threadIdx.x) % 16, y = int(threadIdx.x) / 16;
  const int end = s.mask.causal ? std::min(k.rows, query + kTile) : k.rows;
  float sum[4][N] = {}, most[4], total[4];
  for (int i = 0; i < 4; ++i) most[i] = -INFINITY, total[i] = 0;
  for (int key = 0; key < end; key += kTile) {
    float w[4][4];
    rowProducts(shared, q, query, k, key, w);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int m = query + y * 4 + i;
      float best = -INFINITY;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int n = key + x * 4 + j;
        w[i][j] = m < q.rows && n < k.rows ? s.mask.apply(w[i][j] * s.scale, batch, head, m, n) : -INFINITY;
        best = fmaxf(best, w[i][j]);
      }
      best = overRow(best, [](float a, float b) { return fmaxf(a, b); });
      best = fmaxf(best, most[i]);
      const float shift = best == -INFINITY ? 0 : best;  // a row with nothing but masked scores, or NaN
      const float before = expf(most[i] - shift);
      float part = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j) part += w[i][j] = expf(w[i][j] - shift);
      total[i] = total[i] * before + overRow(part, [](float a, float b) { return a + b; });
      most[i] = best;
#pragma unroll
      for (int c = 0; c < N; ++c) sum[i][c] *= before;
    }
    dropWeights<false>(w, s, batch, head, query + y * 4, key + x * 4);
    shareWeights(shared, w);
    addRows<N>(shared, v, key, column, sum);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int m = query + y * 4 + i;
    const bool nothing = most[i] == -INFINITY && total[i] == 0;
#pragma unroll
    for (int c = 0; c < N; ++c) sum[i][c] = nothing ? 0 : sum[i][c] / total[i];
    if (x == 0 && blockIdx.y == 0 && m < q.rows)
      logSumExp[int64_t(index) * q.rows + m] = nothing ? INFINITY : most[i] + logf(total[i]);
  }
  storeRows<N>(out.at(batch, head), out.row, q.rows, v.columns, query, column, sum);
}

/// What the gradients need besides.
struct FlashGrad : FlashSizes {
  HeadTensor grad;         // of the result
  const float* logSumExp;  // [batch, heads, queries]
  const float* means;      // likewise: the gradient of the result times the result
};

/// A warp for each row.
__global__ void __launch_bounds__(kThreads) rowMeans(HeadTensor out, HeadTensor grad, float* to, int64_t rows) {
  const int64_t row = threadNumber() / 32, head = row / std::max(grad.rows, 1);
  const int lane = int(threadIdx.x) % 32, m = int(row % std::max(grad.rows, 1));
  if (row >= rows) return;
  const HeadMatrix own = grad.head(int(head / grad.heads), int(head % grad.heads)),
                   result = out.head(int(head / grad.heads), int(head % grad.heads));
  float sum = 0;
  for (int i = lane; i < own.columns; i += 32) sum += result.at(m, i) * own.at(m, i);
  for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, bits);
  if (lane == 0) to[row] = sum;
}

enum class Of { Query, Key, Value };

/// A tile of 64 rows of the gradient of q, k or v, which is a product of the weights, or their gradients, with k, q or
/// the result's gradient. Rows are queries for q's, else keys.
template <Of Which, int N>
__global__ void __launch_bounds__(kThreads, 2) flashBackward(FlashGrad s, ResultHeads<float> to) {
  __shared__ AttentionShared shared;
  constexpr bool kByQuery = Which == Of::Query;
  const HeadTensor& own = kByQuery ? s.q : (Which == Of::Key ? s.k : s.v);
  const int tiles = (own.rows + kTile - 1) / kTile, index = int(blockIdx.x) / tiles;
  const int row = (int(blockIdx.x) % tiles) * kTile, column = int(blockIdx.y) * 16 * N;
  const int batch = index / own.heads, ownHead = index % own.heads;
  const int x = int(threadIdx.x) % 16, y = int(threadIdx.x) / 16;
  float sum[4][N] = {};
  for (int g = 0; g < (kByQuery ? 1 : s.group); ++g) {
    const int head = kByQuery ? ownHead : ownHead * s.group + g, pair = head / s.group;
    const HeadMatrix q = s.q.head(batch, head), k = s.k.head(batch, pair), v = s.v.head(batch, pair),
                     grad = s.grad.head(batch, head);
    const int64_t first = (int64_t(batch) * s.q.heads + head) * s.q.rows;
    const int begin = !kByQuery && s.mask.causal ? row : 0;
    const int end = !kByQuery ? q.rows : (s.mask.causal ? std::min(k.rows, row + kTile) : k.rows);
    for (int other = begin; other < end; other += kTile) {
      float w[4][4], change[4][4] = {};
      rowProducts(shared, kByQuery ? q : k, row, kByQuery ? k : q, other, w);
      if (Which != Of::Value) rowProducts(shared, kByQuery ? grad : v, row, kByQuery ? v : grad, other, change);
      const float *const logSumExp = s.logSumExp + first, *const means = s.means + first;
      const int mine = anew(row + y * 4);
      if (Which != Of::Value) dropWeights<!kByQuery>(change, s, batch, head, mine, other + x * 4);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int m = mine + i, n = other + x * 4 + j, query = kByQuery ? m : n, key = kByQuery ? n : m;
          const bool inside = query < q.rows && key < k.rows;
          const float score = inside ? s.mask.apply(w[i][j] * s.scale, batch, head, query, key) : -INFINITY;
          w[i][j] = inside ? expf(score - logSumExp[query]) : 0;
          if (Which != Of::Value && inside) w[i][j] *= (change[i][j] - means[query]) * s.scale;
        }
      if (Which == Of::Value) dropWeights<true>(w, s, batch, head, mine, other + x * 4);
      shareWeights(shared, w);
      addRows<N>(shared, kByQuery ? k : (Which == Of::Key ? q : grad), other, column, sum);
    }
  }
  storeRows<N>(to.at(batch, ownHead), to.row, own.rows, own.columns, row, column, sum);
}

/// `mask` is the place of the mask among the inputs, the key of dropout comes after it.
FlashSizes sizesOf(const ops::Flash& attrs, std::span<const View> in, size_t mask) {
  const View &q = in[0], &k = in[1];
  FlashSizes s{HeadTensor(q), HeadTensor(k), HeadTensor(in[2])};
  s.mask.causal = attrs.causal;
  if (attrs.dropoutP > 0) s.dropout = WeightDropout(attrs, in[mask + 1], q, k);
  s.scale = float(attrs.scale);
  s.group = int(q.shape[1] / k.shape[1]);
  return s;
}

/// Calls f with the sixteenths of the columns that a block takes.
template <class F>
void byWidth(int64_t columns, F&& f) {
  if (columns <= 16) f(std::integral_constant<int, 1>{});
  else if (columns <= 64) f(std::integral_constant<int, 4>{});
  else f(std::integral_constant<int, 8>{});
}

dim3 gridFor(const HeadTensor& rows, int64_t batch, int64_t columns, int n) {
  return dim3(unsigned(batch * rows.heads) * blocksFor(rows.rows, kTile), blocksFor(columns, 16 * n));
}

void forwardTiles(const ops::Flash& attrs, std::span<const View> in, const View& mask, std::span<const View> to) {
  const View &q = in[0], &k = in[1], &v = in[2];
  FlashSizes s = sizesOf(attrs, in, 3);
  if (mask.defined) setMask(s.mask, mask, q, k);
  const int64_t columns = std::max<int64_t>(v.shape[3], 1);  // the log-sum-exp is wanted of heads without values too
  byWidth(columns, [&]<int N>(std::integral_constant<int, N>) {
    launch(flashForward<N>, gridFor(s.q, q.shape[0], columns, N), kThreads, 0, stream(), s,
           ResultHeads<float>(ops::headsOf(to[0])), to[1].as<float>());
  });
}

template <Of Which>
void gradientOf(const FlashGrad& s, int64_t batch, const View& to) {
  if (to.size() == 0) return;
  const HeadTensor& own = Which == Of::Query ? s.q : (Which == Of::Key ? s.k : s.v);
  byWidth(to.shape[3], [&]<int N>(std::integral_constant<int, N>) {
    launch(flashBackward<Which, N>, gridFor(own, batch, to.shape[3], N), kThreads, 0, stream(), s,
           ResultHeads<float>(to));
  });
}

void backwardTiles(const ops::FlashGrad& attrs, std::span<const View> in, const View& mask, std::span<const View> to) {
  const View &q = in[0], &k = in[1], &logSumExp = in[4], grad = ops::headsOf(in[5]);
  FlashGrad s{sizesOf(attrs, in, 6), HeadTensor(grad), logSumExp.as<const float>(), nullptr};
  if (mask.defined) setMask(s.mask, mask, q, k);
  const int64_t rows = logSumExp.size();
  const Scratch means(std::max<size_t>(size_t(rows) * sizeof(float), 1));
  s.means = means.as<float>();
  if (rows > 0)
    launch(rowMeans, blocksFor(rows * 32, kThreads), kThreads, 0, stream(), HeadTensor(ops::headsOf(in[3])), s.grad,
           means.as<float>(), rows);
  const ops::HeadGradients grads(attrs, in, to);
  gradientOf<Of::Query>(s, q.shape[0], grads.q);
  gradientOf<Of::Key>(s, q.shape[0], grads.k);
  gradientOf<Of::Value>(s, q.shape[0], grads.v);
}

/// Inputs in the device's memory, floats as float32.
class Wide {
 public:
  explicit Wide(std::span<const View> in) {
    for (const View& v : in) {
      const bool taken = !v.defined || !isFloat(v.dtype) || (v.memory && v.dtype == DType::Float32);
      views_.push_back(taken ? v : prepared_.emplace_back(v, DType::Float32).view());
    }
  }
  std::span<const View> views() const { return views_; }

 private:
  std::deque<Prepared> prepared_;
  std::vector<View> views_;
};

/// Results as float32, which store() converts.
class Narrowed {
 public:
  explicit Narrowed(std::span<const View> out) : out_(out), views_(out.begin(), out.end()) {
    for (View& v : views_) {
      if (v.dtype == DType::Float32) continue;
      v.dtype = DType::Float32;
      v.memory = memory_.emplace_back(std::max<size_t>(size_t(v.size()) * sizeof(float), 1)).as<std::byte>();
    }
  }
  std::span<const View> views() const { return views_; }
  void store() const {
    for (size_t i = 0; i < out_.size(); ++i)
      if (out_[i].dtype != DType::Float32) copy(views_[i], out_[i]);
  }

 private:
  std::span<const View> out_;
  std::deque<Scratch> memory_;
  std::vector<View> views_;
};

/// The mask at place `at`, in the device's memory.
struct Mask {
  std::optional<Prepared> number;
  View view;
  Mask(std::span<const View> in, size_t at) {
    view.defined = at < in.size() && in[at].defined;
    if (view.defined) view = in[at].memory ? in[at] : number.emplace(in[at], in[at].dtype).view();
  }
};

void forwardCuda(const Call<ops::Flash>& call) {
  const View &q = call.in[0], &k = call.in[1], &v = call.in[2];
  if (call.out[1].size() == 0) return;
  if (tensorCoresTake(q, k, v)) {
    const Mask mask(call.in, 3);
    return flashOnTensorCores({q, k, v, mask.view, call.in[4], call.attrs}, ops::headsOf(call.out[0]), call.out[1]);
  }
  const Wide in(call.in);
  const Narrowed out(call.out);
  forwardTiles(call.attrs, in.views(), Mask(in.views(), 3).view, out.views());
  out.store();
}

/// The result and its log-sum-exp, which kernels read as they were written, contiguous.
class Forward {
 public:
  Forward(std::span<const View> in, DType dtype) : out_(in[3], dtype), logSumExp_(in[4], DType::Float32) {}
  const View& out() const { return out_.view(); }
  const View& logSumExp() const { return logSumExp_.view(); }

 private:
  Prepared out_, logSumExp_;
};

void backwardCuda(const Call<ops::FlashGrad>& call) {
  const DType dtype = call.in[0].dtype;
  // Tensor cores read rows of neighbours: other views are copied, such as a gradient that is the same everywhere.
  const auto packed = [](const View& v) { return tensorCoresTake(v, v, v); };
  std::deque<Prepared> copies;
  std::vector<View> in(call.in.begin(), call.in.end());
  if (itemSize(dtype) == 2)
    for (size_t i : {0, 1, 2, 5})
      if (!packed(in[i])) in[i] = copies.emplace_back(in[i], dtype).view();
  const View &q = in[0], &k = in[1], &v = in[2], grad = ops::headsOf(in[5]);
  if (tensorCoresTake(q, k, v) && tensorCoresTake(q, k, grad)) {
    const Mask mask(in, 6);
    const Forward forward(in, dtype);
    const ops::HeadGradients to(call.attrs, in, call.out);
    return flashGradOnTensorCores({q, k, v, mask.view, in[7], call.attrs}, ops::headsOf(forward.out()),
                                  forward.logSumExp(), grad, to.q, to.k, to.v);
  }
  const Wide wide(in);
  const Narrowed out(call.out);
  const Forward forward(wide.views(), DType::Float32);
  std::vector<View> views(wide.views().begin(), wide.views().end());
  views[3] = forward.out();
  views[4] = forward.logSumExp();
  backwardTiles(call.attrs, views, Mask(views, 6).view, out.views());
  out.store();
}

const Implement<ops::Flash> flashOnCuda("flashAttention", DeviceType::Cuda, forwardCuda);
const Implement<ops::FlashGrad> flashGradOnCuda("flashAttentionGrad", DeviceType::Cuda, backwardCuda);

}  // namespace
}  // namespace anneal::cuda
