// Normalisation of channels: batch, group and instance norm and their gradients. x is seen as
// [segments, rows, channels]; statistics are over the rows and a group's channels of a segment.
#include <cmath>
#include <limits>

#include "columns.h"
#include "copy.h"
#include "ops/norm.h"
#include "rows.cuh"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerProcessor = 8;
constexpr int64_t kLeastRows = 8;  // of a thread

/// How threads share x: a block has neighbouring channels along x and rows along y; blocks have tiles of channels, then
/// pieces of a segment's rows, then segments.
struct Columns {
  int64_t segments = 1, rows = 0, channels = 0, groups = 1;
  double eps = 0;
  dim3 block;
  int64_t tiles = 1, pieces = 1, piece = 0;

  ANNEAL_HD int64_t perGroup() const { return channels / groups; }
  unsigned blocks() const { return unsigned(segments * pieces * tiles); }
};

/// Gives each thread `N` neighbouring channels.
void share(Columns& c, int N) {
  const int64_t runs = (c.channels + N - 1) / N;
  unsigned across = 1;
  while (across < kWarp && across < runs) across *= 2;
  c.block = dim3(across, kThreads / across);
  c.tiles = (runs + across - 1) / across;
  const int64_t others = c.tiles * c.segments, wanted = kBlocksPerProcessor * current().multiprocessors(),
                least = kLeastRows * int64_t(c.block.y);
  c.pieces =
      std::clamp<int64_t>(wanted / std::max<int64_t>(1, others), 1, std::max<int64_t>(1, (c.rows + least - 1) / least));
  c.piece = (c.rows + c.pieces - 1) / c.pieces;
}

/// Where a thread stands.
struct Stand {
  int64_t channel, segment, piece, begin, end;
  __device__ Stand(const Columns& c, int N) {
    const int64_t rest = blockIdx.x / c.tiles;
    channel = (blockIdx.x % c.tiles * blockDim.x + threadIdx.x) * N;
    segment = rest / c.pieces;
    piece = rest % c.pieces;
    begin = piece * c.piece;
    end = begin + c.piece < c.rows ? begin + c.piece : c.rows;
  }
};

/// Calls f(offset) for the rows of a thread.
template <class F>
__device__ __forceinline__ void eachRow(const Columns& c, const Stand& at, F&& f) {
  const int64_t base = at.segment * c.rows * c.channels + at.channel;
  if (at.channel >= c.channels) return;
#pragma unroll 4
  for (int64_t row = at.begin + threadIdx.y; row < at.end; row += blockDim.y) f(base + row * c.channels);
}

/// `merge` over the rows of threads, in the threads of the first; `shared` has room for a value of every thread.
template <class S, class M>
__device__ __forceinline__ S mergeRows(S state, S* shared, M merge) {
  const unsigned place = threadIdx.y * blockDim.x + threadIdx.x;
  __syncthreads();
  shared[place] = state;
  for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) shared[place] = state = merge(state, shared[place + half * blockDim.x]);
  }
  return state;
}

/// Mean and sum of squared deviations, merged after Chan, Golub and LeVeque 1983.
template <class C>
struct Moments {
  C n, mean, squares;
};
struct MergeMoments {
  template <class C>
  __device__ Moments<C> operator()(Moments<C> a, Moments<C> b) const {
    if (b.n == 0) return a;
    if (a.n == 0) return b;
    const C n = a.n + b.n, apart = b.mean - a.mean, part = b.n / n;
    return {n, a.mean + apart * part, a.squares + b.squares + apart * apart * (a.n * part)};
  }
};

/// The moments of every channel in every piece: [segments, pieces, channels]. Sums are relative to a thread's first
/// value, which is one of what they describe, so that little is lost when the mean's square is taken away.
template <class T, int N>
__global__ void __launch_bounds__(kThreads) momentsOfPieces(const T* x, Columns c, Moments<Computed<T>>* out) {
  using C = Computed<T>;
  __shared__ Moments<C> shared[kThreads];
  const Stand at(c, N);
  C first[N] = {}, sum[N] = {}, squares[N] = {}, n = 0;
  eachRow(c, at, [&](int64_t offset) {
    C v[N];
    loadRun<N>(x + offset, v);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (n == 0) first[i] = v[i];
      const C from = v[i] - first[i];
      sum[i] += from;
      squares[i] += from * from;
    }
    n += 1;
  });
#pragma unroll
  for (int i = 0; i < N; ++i) {
    Moments<C> m{n, 0, 0};
    if (n > 0) {
      const C less = squares[i] - sum[i] * sum[i] / n;
      m = {n, first[i] + sum[i] / n, less < 0 ? C(0) : less};
    }
    m = mergeRows(m, shared, MergeMoments());
    if (threadIdx.y == 0 && at.channel < c.channels)
      out[(at.segment * c.pieces + at.piece) * c.channels + at.channel + i] = m;
  }
}

/// A warp for each group of each segment.
template <class C>
__global__ void __launch_bounds__(kThreads, 4) mergeMoments(const Moments<C>* pieces, Columns c, C* mean, C* variance) {
  const int64_t group = threadNumber() / kWarp;
  if (group >= c.segments * c.groups) return;
  const int64_t wide = c.perGroup(), count = c.pieces * wide;
  const Moments<C>* from = pieces + group / c.groups * c.pieces * c.channels + group % c.groups * wide;
  Moments<C> m{0, 0, 0};
#pragma unroll 4
  for (int64_t i = threadIdx.x % kWarp; i < count; i += kWarp)
    m = MergeMoments()(m, from[i / wide * c.channels + i % wide]);
  m = mergeWarp(m, MergeMoments());
  if (threadIdx.x % kWarp != 0) return;
  mean[group] = m.n > 0 ? m.mean : std::numeric_limits<C>::quiet_NaN();
  variance[group] = m.squares / m.n;
}

/// The statistics of N channels of a segment, and 1 / standard deviation.
template <int N, class C>
__device__ __forceinline__ void loadStatistics(const Columns& c, const Stand& at, const Parameter& mean,
                                               const Parameter& variance, C (&middle)[N], C (&scale)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int64_t group = at.segment * c.groups + (at.channel + i) / c.perGroup();
    C m[1], v[1];
    mean.load(group, m, C(0));
    variance.load(group, v, C(1));
    middle[i] = m[0];
    scale[i] = C(1) / std::sqrt(v[0] + C(c.eps));
  }
}

/// What is done with what was normalised: see cpu::AfterColumns.
template <class T, int N>
__device__ __forceinline__ void finish(const T* residual, bool relu, int64_t offset, Computed<T> (&v)[N]) {
  using C = Computed<T>;
  C more[N] = {};
  if (residual) loadRun<N>(residual + offset, more);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (residual) v[i] = cpu::convertTo<C>(cpu::convertTo<T>(v[i])) + more[i];
    if (relu) v[i] = v[i] < C(0) ? C(0) : v[i];
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    applyStatistics(const T* x, Columns c, Parameter mean, Parameter variance, Parameter weight, Parameter bias,
                    const T* residual, bool relu, T* y) {
  using C = Computed<T>;
  const Stand at(c, N);
  if (at.channel >= c.channels) return;
  C middle[N], scale[N], w[N], b[N];
  loadStatistics<N>(c, at, mean, variance, middle, scale);
  weight.load(at.channel, w, C(1));
  bias.load(at.channel, b, C(0));
  eachRow(c, at, [&](int64_t offset) {
    C v[N];
    loadRun<N>(x + offset, v);
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] = (v[i] - middle[i]) * scale[i] * w[i] + b[i];
    finish(residual, relu, offset, v);
    storeRun<N>(y + offset, v);
  });
}

/// What of a gradient comes back through a ReLU, of N channels.
template <class T, int N>
struct Mask {
  using C = Computed<T>;
  C weight[N], bias[N];
  bool on;

  __device__ __forceinline__ Mask(const Parameter& w, const Parameter& b, bool on, int64_t channel) : on(on) {
    w.load(channel, weight, C(1));
    b.load(channel, bias, C(0));
  }
  /// As what went there was computed.
  __device__ __forceinline__ C operator()(int i, C grad, C fromMean, C scale) const {
    if (!on) return grad;
    return cpu::convertTo<C>(cpu::convertTo<T>(fromMean * scale * weight[i] + bias[i])) > C(0) ? grad : C(0);
  }
};

/// The sums of a channel's gradients, and of those times the normalised x, in every piece: [segments, pieces,
/// channels].
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    sumsOfPieces(const T* g, const T* x, Columns c, Parameter mean, Parameter variance, Parameter weight,
                 Parameter bias, bool relu, Two<Computed<T>>* out) {
  using C = Computed<T>;
  __shared__ Two<C> shared[kThreads];
  const Stand at(c, N);
  C middle[N], scale[N];
  const bool inside = at.channel < c.channels;
  if (inside) loadStatistics<N>(c, at, mean, variance, middle, scale);
  const Mask<T, N> mask(weight, bias, relu, inside ? at.channel : 0);
  Two<C> sums[N] = {};
  eachRow(c, at, [&](int64_t offset) {
    C grad[N], v[N];
    loadRun<N>(g + offset, grad);
    loadRun<N>(x + offset, v);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const C fromMean = v[i] - middle[i], back = mask(i, grad[i], fromMean, scale[i]);
      sums[i] = sums[i] + Two<C>{back, back * (fromMean * scale[i])};
    }
  });
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const Two<C> all = mergeRows(sums[i], shared, Add());
    if (threadIdx.y == 0 && at.channel < c.channels)
      out[(at.segment * c.pieces + at.piece) * c.channels + at.channel + i] = all;
  }
}

/// The sums over the pieces: `plain` and `along` [segments, channels].
template <class C>
__global__ void __launch_bounds__(kThreads) mergeSums(const Two<C>* pieces, Columns c, C* plain, C* along) {
  const int64_t i = threadNumber();
  if (i >= c.segments * c.channels) return;
  const Two<C>* from = pieces + i / c.channels * c.pieces * c.channels + i % c.channels;
  Two<C> sum{0, 0};
#pragma unroll 8
  for (int64_t piece = 0; piece < c.pieces; ++piece) sum = sum + from[piece * c.channels];
  plain[i] = sum.first;
  along[i] = sum.second;
}

/// The averages of a group's weighted gradients, and of those times the normalised x: a warp for each.
template <class C>
__global__ void __launch_bounds__(kThreads)
    averageGroups(const C* plain, const C* along, Parameter weight, Columns c, Two<C>* out) {
  const int64_t group = threadNumber() / kWarp;
  if (group >= c.segments * c.groups) return;
  const int64_t first = group % c.groups * c.perGroup(), segment = group / c.groups * c.channels;
  Two<C> sum{0, 0};
  for (int64_t i = first + threadIdx.x % kWarp; i < first + c.perGroup(); i += kWarp) {
    C w[1];
    weight.load(i, w, C(1));
    sum = sum + Two<C>{w[0] * plain[segment + i], w[0] * along[segment + i]};
  }
  sum = mergeWarp(sum, Add());
  const C count = C(c.rows) * C(c.perGroup());
  if (threadIdx.x % kWarp == 0) out[group] = {sum.first / count, sum.second / count};
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    applyGradient(const T* g, const T* x, Columns c, Parameter mean, Parameter variance, Parameter weight,
                  Parameter bias, bool relu, const Two<Computed<T>>* averages, T* dx) {
  using C = Computed<T>;
  const Stand at(c, N);
  if (at.channel >= c.channels) return;
  C middle[N], scale[N];
  Two<C> average[N];
  loadStatistics<N>(c, at, mean, variance, middle, scale);
  const Mask<T, N> mask(weight, bias, relu, at.channel);
#pragma unroll
  for (int i = 0; i < N; ++i) average[i] = averages[at.segment * c.groups + (at.channel + i) / c.perGroup()];
  eachRow(c, at, [&](int64_t offset) {
    C grad[N], v[N];
    loadRun<N>(g + offset, grad);
    loadRun<N>(x + offset, v);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const C fromMean = v[i] - middle[i], normal = fromMean * scale[i], back = mask(i, grad[i], fromMean, scale[i]);
      v[i] = scale[i] * (back * mask.weight[i] - average[i].first - normal * average[i].second);
    }
    storeRun<N>(dx + offset, v);
  });
}

Columns columnsOf(const Shape& x, int64_t groups, double eps, bool wholeBatch) {
  Columns c;
  c.segments = wholeBatch ? 1 : x[0];
  c.channels = x.back();
  c.rows = c.segments ? x.slice(0, x.rank() - 1).product() / c.segments : 0;
  c.groups = groups;
  c.eps = eps;
  return c;
}
Columns columnsOf(const ops::NormalizeGroups& a, const Shape& x) { return columnsOf(x, a.groups, a.eps, a.wholeBatch); }

/// Calls f(TypeTag<T>, N, columns) with the type of x and the number of channels that a thread has.
template <class F>
void visitColumns(const Columns& given, const View& x, std::initializer_list<const void*> memory, F&& f) {
  visitFloat(x.dtype, [&]<class T>(TypeTag<T> tag) {
    Columns c = given;
    if constexpr (!std::is_same_v<T, double>) {
      constexpr int N = kPack<T>;
      if (c.channels % N == 0 && std::all_of(memory.begin(), memory.end(), aligned)) {
        share(c, N);
        return f(tag, Run<N>{}, c);
      }
    }
    share(c, 1);
    f(tag, Run<1>{}, c);
  });
}

void apply(const Columns& columns, const View& x, const View& mean, const View& variance, const View& weight,
           const View& bias, const View& y, const View& residual, bool relu) {
  if (y.size() == 0) return;
  const void* added = residual.defined ? residual.memory : nullptr;
  visitColumns(columns, x, {x.memory, y.memory, added}, [&]<class T, int N>(TypeTag<T>, Run<N>, const Columns& c) {
    launch(applyStatistics<T, N>, c.blocks(), c.block, 0, stream(), x.as<T>(), c, Parameter(mean), Parameter(variance),
           Parameter(weight), Parameter(bias), static_cast<const T*>(added), relu, y.as<T>());
  });
}

void normalizeGroupsCuda(const Call<ops::NormalizeGroups>& call) {
  const View &x = call.in[0], &mean = call.out[1], &variance = call.out[2];
  const Columns columns = columnsOf(call.attrs, x.shape);
  if (mean.size() == 0) return;
  visitColumns(columns, x, {x.memory}, [&]<class T, int N>(TypeTag<T>, Run<N>, const Columns& c) {
    using C = Computed<T>;
    const Scratch pieces(size_t(c.segments * c.pieces * c.channels) * sizeof(Moments<C>));
    launch(momentsOfPieces<T, N>, c.blocks(), c.block, 0, stream(), x.as<T>(), c, pieces.as<Moments<C>>());
    launch(mergeMoments<C>, blocksFor(mean.size() * kWarp, kThreads), kThreads, 0, stream(), pieces.as<Moments<C>>(), c,
           mean.as<C>(), variance.as<C>());
  });
  apply(columns, x, mean, variance, call.in[1], call.in[2], call.out[0], call.in[3], call.attrs.relu);
}

void batchNormCuda(const Call<ops::BatchNorm>& c) {
  const Columns columns = columnsOf(c.in[0].shape, c.in[0].shape.back(), c.attrs.eps, true);
  apply(columns, c.in[0], c.in[1], c.in[2], c.in[3], c.in[4], c.out[0], {.defined = false}, false);
}

void groupsGradientCuda(const Call<ops::NormalizeGroups>& call) {
  const View &g = call.in[0], &x = call.in[1], &dx = call.out[0], &dw = call.out[1], &db = call.out[2];
  const Columns columns = columnsOf(call.attrs, x.shape);
  if (x.size() == 0) return fill(dw, 0), fill(db, 0);
  const Parameter weight(call.in[2]), mean(call.in[3]), variance(call.in[4]), bias(call.in[5]);
  const bool relu = call.attrs.relu;
  visitColumns(columns, x, {g.memory, x.memory, dx.memory}, [&]<class T, int N>(TypeTag<T>, Run<N>, const Columns& c) {
    using C = Computed<T>;
    const int64_t all = c.segments * c.channels, groups = c.segments * c.groups;
    const Scratch pieces(size_t(all * c.pieces) * sizeof(Two<C>)), sums(size_t(2 * all) * sizeof(C)),
        averages(size_t(groups) * sizeof(Two<C>));
    // With one segment its sums are the results.
    C *plain = c.segments == 1 ? db.as<C>() : sums.as<C>(), *along = c.segments == 1 ? dw.as<C>() : sums.as<C>() + all;
    launch(sumsOfPieces<T, N>, c.blocks(), c.block, 0, stream(), g.as<T>(), x.as<T>(), c, mean, variance, weight, bias,
           relu, pieces.as<Two<C>>());
    launch(mergeSums<C>, blocksFor(all, kThreads), kThreads, 0, stream(), pieces.as<Two<C>>(), c, plain, along);
    launch(averageGroups<C>, blocksFor(groups * kWarp, kThreads), kThreads, 0, stream(), plain, along, weight, c,
           averages.as<Two<C>>());
    launch(applyGradient<T, N>, c.blocks(), c.block, 0, stream(), g.as<T>(), x.as<T>(), c, mean, variance, weight, bias,
           relu, averages.as<Two<C>>(), dx.as<T>());
    if (c.segments == 1) return;
    sumPieces(along, c.segments, c.channels, dw.as<C>());
    sumPieces(plain, c.segments, c.channels, db.as<C>());
  });
}

const Implement<ops::NormalizeGroups> groupsOnCuda("normalizeGroups", DeviceType::Cuda, normalizeGroupsCuda);
const Implement<ops::NormalizeGroups> groupsGradientOnCuda("normalizeGroupsGradient", DeviceType::Cuda,
                                                           groupsGradientCuda);
const Implement<ops::BatchNorm> batchNormOnCuda("batchNorm", DeviceType::Cuda, batchNormCuda);

}  // namespace
}  // namespace anneal::cuda
